"""The mark of a file changes with its content, and with nothing else; a copy keeps it."""

from __future__ import annotations

import gzip
import os
import shutil

import numpy as np
import pytest

from medreg.data.contents import SMALL, UNREADABLE, FileMarks, contents_of
from medreg.data.records import Pair, Record


def noise(seed=0, size=2 * SMALL):
    return np.random.default_rng(seed).integers(0, 4, size, dtype=np.uint8)


def written(path, array, kind):
    if kind == "gzip":
        path.write_bytes(
            gzip.compress(array.tobytes(), compresslevel=0 if array.size < 4 * SMALL else 1, mtime=0)
        )
    elif kind == "zip":
        with path.open("wb") as stream:
            np.savez_compressed(stream, a=array)
    else:
        path.write_bytes(array.tobytes())
    return path


@pytest.mark.parametrize("kind", ["gzip", "zip", "plain"])
@pytest.mark.parametrize("size", [1000, 8 * SMALL])
def test_one_voxel_changes_the_mark_and_a_copy_does_not(tmp_path, kind, size):
    array = noise(size=size)
    file = written(tmp_path / "a", array, kind)
    marks = FileMarks(tmp_path / "memory.json")
    before = marks.of(file)
    copy = shutil.copyfile(file, tmp_path / "b")
    os.utime(copy, (1, 1))
    assert marks.of(copy) == before
    array[size // 2] += 1
    assert FileMarks(tmp_path / "memory.json").of(written(tmp_path / "c", array, kind)) != before


def test_a_large_plain_file_is_read_once(tmp_path, monkeypatch):
    file = written(tmp_path / "a.nii", noise(), "plain")
    first = FileMarks(tmp_path / "memory.json")
    before = first.of(file)
    first.save()
    monkeypatch.setattr("medreg.data.contents.digest_of_file", lambda file: pytest.fail("read again"))
    assert FileMarks(tmp_path / "memory.json").of(file) == before


def test_blocked_gzip_is_not_taken_at_its_last_empty_block(tmp_path):
    one, other = noise(1), noise(2)
    files = [tmp_path / "a", tmp_path / "b"]
    for file, array in zip(files, (one, other), strict=True):
        file.write_bytes(gzip.compress(array.tobytes(), 0, mtime=0) + gzip.compress(b"", mtime=0))
    marks = FileMarks(tmp_path / "memory.json")
    assert marks.of(files[0]) != marks.of(files[1])


def test_a_case_tells_its_files_and_facts_apart(tmp_path):
    for name in ("f", "m", "l"):
        (tmp_path / name).write_text(name)
    fixed, moving = (
        Record("p", tmp_path / "f", phase="ED"),
        Record("p", tmp_path / "m", tmp_path / "l", phase="ES"),
    )
    marks = FileMarks(tmp_path / "memory.json")
    found = contents_of([Pair(fixed, moving, id="p")], marks)["p"]
    assert set(found) == {"fixed_image", "fixed_facts", "moving_image", "moving_label", "moving_facts"}
    turned = contents_of([Pair(moving, fixed, id="p")], marks)["p"]
    assert turned["fixed_image"] == found["moving_image"]
    other = contents_of([Pair(Record("p", tmp_path / "f", phase="ED", frame=2), moving, id="p")], marks)["p"]
    assert {kind for kind in found if found[kind] != other[kind]} == {"fixed_facts"}
    assert marks.of(tmp_path / "gone") == UNREADABLE
