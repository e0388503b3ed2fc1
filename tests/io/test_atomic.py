"""Files are whole or as they were, whatever stops their writer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medreg.io.atomic import read_json, replacing, write_json, write_text

WRITER = """
import sys, time
from pathlib import Path
from medreg.io.atomic import replacing
with replacing(Path(sys.argv[1])) as part:
    part.write_text("half of")
    print("written", flush=True)
    time.sleep(60)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_text_and_json_come_back(tmp_path):
    target = tmp_path / "a" / "b.json"
    assert write_json(target, {"μ": 1.5, "path": Path("x")}) == target
    assert read_json(target) == {"μ": 1.5, "path": "x"}
    assert "μ" in target.read_text(encoding="utf-8")
    assert names(target.parent) == ["b.json"]


@pytest.mark.parametrize("content", [None, b"", b'{"a": 1', b"\xff\xfe"])
def test_json_that_is_missing_or_damaged_is_none(tmp_path, content):
    file = tmp_path / "a.json"
    if content is not None:
        file.write_bytes(content)
    assert read_json(file) is None


def test_killed_in_the_middle(tmp_path):
    target = write_text(tmp_path / "a.txt", "before")
    command = [sys.executable, "-c", WRITER, str(target)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout.readline() == "written\n"
        writer.send_signal(signal.SIGKILL)
    assert target.read_text() == "before"
    write_text(target, "after")
    assert target.read_text() == "after"


def test_an_error_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    target = write_text(tmp_path / "a.txt", "before")

    def fail():
        with replacing(target) as part:
            part.write_text("half of")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        fail()
    assert target.read_text() == "before"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device of Linux that is always full")
def test_a_full_disk_while_writing(tmp_path):
    target = write_text(tmp_path / "a.txt", "before")

    def fill():
        with replacing(target) as part:
            part.symlink_to("/dev/full")
            part.write_text("x" * 100)

    with pytest.raises(OSError, match="No space left"):
        fill()
    assert target.read_text() == "before"
    assert names(tmp_path) == ["a.txt"]


def test_a_full_disk_is_noticed_before_the_file_takes_its_place(tmp_path, monkeypatch):
    """Some file systems say only when they are asked to flush that there was no room."""
    target = write_text(tmp_path / "a.txt", "before")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_text(target, "after")
    assert target.read_text() == "before"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("name", ["field.nii.gz", "field.nii", "case.1.npz"])
def test_suffixes_are_kept(tmp_path, name):
    with replacing(tmp_path / name) as part:
        assert "".join(part.suffixes[-len(Path(name).suffixes) :]) == "".join(Path(name).suffixes)
        part.write_bytes(b"1")
    assert names(tmp_path) == [name]


def test_images_are_written_in_their_format(tmp_path):
    target = tmp_path / "image.nii.gz"
    with replacing(target) as part:
        nib.save(nib.Nifti1Image(np.ones((2, 3, 4), np.float32), np.eye(4)), part)
    assert target.read_bytes()[:2] == b"\x1f\x8b"  # gzip
    assert nib.load(target).shape == (2, 3, 4)
