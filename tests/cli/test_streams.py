"""Commands survive an output of any encoding, a reader who leaves, and a full disk behind the output."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from medreg.cli.main import main
from medreg.cli.streams import Outlasting, outlasting

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1"])
def test_what_an_encoding_lacks_becomes_a_question_mark(encoding):
    raw = io.BytesIO()
    stream = Outlasting(io.TextIOWrapper(raw, encoding=encoding))
    stream.write("Dice ↑ λ\n")
    stream.flush()
    assert raw.getvalue() == b"Dice ? ?\n"


def test_a_reader_who_leaves_ends_nothing_and_a_full_disk_is_remembered():
    read, write = os.pipe()
    os.close(read)
    stream = Outlasting(os.fdopen(write, "w"))
    for _ in range(3):
        stream.write("x" * 100_000)
        stream.flush()
    assert stream.error is None
    stream.close()
    if Path("/dev/full").exists():
        full = Outlasting(open("/dev/full", "w"))  # noqa: SIM115, PTH123
        full.write("text")
        full.flush()
        assert full.error is not None
        assert "full" in str(full.error) or "space" in str(full.error)
        full.close()


def test_streams_are_given_back(monkeypatch):
    before = sys.stdout, sys.stderr
    with outlasting():
        assert isinstance(sys.stdout, Outlasting)
        with outlasting():  # a command that calls another
            inner = sys.stdout
        assert sys.stdout is inner
    assert (sys.stdout, sys.stderr) == before
    monkeypatch.setattr(sys, "stdout", None)  # closed before the start (>&-)
    with outlasting():
        print("nowhere")
    assert sys.stdout is None


def test_a_system_error_at_any_command_is_a_sentence(tmp_path, capsys):
    assert main(["rank", "ours=nothing.json", "-o", str(Path(__file__) / "below")]) == 1
    told = capsys.readouterr().err
    assert "--output" in told
    assert "is a file and no folder" in told


@pytest.mark.slow
@pytest.mark.parametrize("words", [["list", "model"], ["show"]])
def test_head_takes_what_it_wants(words):
    command = f"{sys.executable} -m medreg.cli.main {' '.join(words)} | head -1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "BrokenPipe" not in done.stderr
