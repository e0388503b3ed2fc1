"""What the system refuses is a sentence that names the file, the reason and what to do."""

from __future__ import annotations

import errno

import pytest

from medreg.io.atomic import replacing, write_text
from medreg.io.faults import is_full, told


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk is full. Free some space"),
        (errno.EDQUOT, "quota"),
        (errno.EFBIG, "larger than is allowed"),
        (errno.EROFS, "read-only; choose another"),
        (errno.EACCES, "may not do that there"),
        (errno.ENOTDIR, "is a file and no folder"),
        (errno.EIO, "look after"),
    ],
)
def test_every_refusal_is_told_with_its_file(number, words):
    text = told(OSError(number, "words of the system", "out/warped.nii.gz"))
    assert text.startswith("out/warped.nii.gz: ")
    assert words in text


def test_numpy_says_a_full_disk_in_words():
    assert is_full(OSError("1024 requested and 12 written"))
    assert not is_full(OSError(errno.ENOENT, "No such file"))


def test_an_error_without_a_file_gets_that_of_the_target_and_leaves_nothing(tmp_path):
    target = write_text(tmp_path / "a.txt", "before")

    def fill(part):
        part.write_text("half")
        raise OSError(errno.ENOSPC, "disk full")

    with pytest.raises(OSError, match="full") as caught, replacing(target) as part:
        fill(part)
    assert caught.value.filename == str(target)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert target.read_text() == "before"
