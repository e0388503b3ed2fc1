"""A folder of results appears whole or not at all, and what lies there already stays unless it was made before."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from medreg.errors import ConfigError
from medreg.generating.folder import MADE, check_place, delivering


def make(place, names):
    with delivering(place) as part:
        for name in names:
            (part / name).parent.mkdir(parents=True, exist_ok=True)
            (part / name).write_text(name)
        (part / MADE).write_text(json.dumps({"files": list(names)}))


def held(folder):
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


def test_the_folder_appears_whole(tmp_path):
    make(tmp_path / "new" / "out", ["a.csv", "meshes/one/b.vtp"])
    assert held(tmp_path / "new" / "out") == {"a.csv", "meshes/one/b.vtp", MADE}
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["out"]


def test_what_fails_leaves_nothing(tmp_path):
    out = tmp_path / "out"

    def half():
        with delivering(out) as part:
            (part / "a.csv").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert list(tmp_path.iterdir()) == []


def test_only_what_was_made_before_is_replaced(tmp_path):
    out = tmp_path / "out"
    make(out, ["a.csv", "b.csv", "meshes/one/b.vtp"])
    (out / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"made\.json is there already.*--overwrite"):
        check_place(out, ["c.csv"])
    check_place(out, ["a.csv"], overwrite=True)
    make(out, ["a.csv"])
    assert held(out) == {"a.csv", "notes.txt", MADE}
    assert not (out / "meshes").exists()


def test_a_record_that_names_files_elsewhere_removes_none(tmp_path):
    out, other = tmp_path / "out", tmp_path / "other.csv"
    make(out, ["a.csv"])
    other.write_text("mine")
    (out / MADE).write_text(json.dumps({"files": ["../other.csv", str(other), 3, "gone.csv"]}))
    make(out, ["b.csv"])
    assert other.read_text() == "mine"
    assert held(out) == {"a.csv", "b.csv", MADE}


def test_places_that_cannot_be_are_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "out" / "a.csv").mkdir(parents=True)
    with pytest.raises(ConfigError, match="is a file; name a folder"):
        check_place(tmp_path / "file", ["a.csv"])
    with pytest.raises(ConfigError, match="is a folder where a file"):
        check_place(tmp_path / "out", ["a.csv"], overwrite=True)
    (tmp_path / "out" / "ed.nii.gz").write_text("mine")
    with pytest.raises(ConfigError, match="is an input"):
        check_place(tmp_path / "out", ["ed.nii.gz"], inputs=[tmp_path / "out" / "ed.nii.gz"], overwrite=True)


def test_a_kill_leaves_no_folder(tmp_path):
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom medreg.generating.folder import delivering\n"
        "with delivering(Path(sys.argv[1])) as part:\n"
        "    (part / 'a.csv').write_text('half'); print('there', flush=True); time.sleep(60)\n"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "out")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as process:
        assert process.stdout.readline().strip() == "there"
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    time.sleep(0.05)
    assert not (tmp_path / "out").exists()
    assert all(file.name.startswith(".out.") for file in tmp_path.iterdir())
