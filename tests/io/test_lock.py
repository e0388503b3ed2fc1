"""One holder at a time, between processes too, and none after its death."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from medreg.io import lock
from medreg.io.lock import exclusive

HOLDER = """
import sys, time
from pathlib import Path
from medreg.io.lock import exclusive
with exclusive(Path(sys.argv[1])) as held:
    print(held, flush=True)
    time.sleep(60)
"""
COUNTER = """
import sys
from pathlib import Path
from medreg.io.lock import exclusive
folder = Path(sys.argv[1])
for _ in range(100):
    with exclusive(folder / "lock"):
        file = folder / "count"
        file.write_text(str(int(file.read_text()) + 1))
"""


@contextmanager
def another_holder(path: Path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "True\n"
        yield holder
        holder.kill()


def test_another_process_has_to_wait(tmp_path):
    path = tmp_path / "folder" / "lock"
    with another_holder(path) as holder:
        for wait_s in (0, 0.2):
            with exclusive(path, wait_s=wait_s) as held:
                assert not held
        holder.send_signal(signal.SIGKILL)
        with exclusive(path, wait_s=30) as held:  # the system releases what the dead held
            assert held
    with exclusive(path, wait_s=0) as held:
        assert held


def test_nothing_is_lost_between_two_processes(tmp_path):
    (tmp_path / "count").write_text("0")
    command = [sys.executable, "-c", COUNTER, str(tmp_path)]
    both = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    assert (tmp_path / "count").read_text() == "200"


def test_an_error_in_the_block_releases_it(tmp_path):
    with pytest.raises(ValueError, match="mine"), exclusive(tmp_path / "lock"):
        raise ValueError("mine")
    with exclusive(tmp_path / "lock", wait_s=0) as held:
        assert held


def test_a_file_system_without_locks_is_no_obstacle(tmp_path, monkeypatch):
    def refuse(self):
        raise NotImplementedError

    monkeypatch.setattr(lock.FileLock, "acquire", refuse)
    with exclusive(tmp_path / "lock") as held:
        assert not held
