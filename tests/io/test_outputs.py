"""A place for results is refused before the work: a file, a folder, something below a file, an input."""

from __future__ import annotations

import os

import pytest

from medreg.errors import ConfigError
from medreg.io.outputs import check_file, check_folder


def test_places_that_are_not_there_yet_are_right_and_stay_away(tmp_path):
    assert check_folder(tmp_path / "a" / "b", "-o") == tmp_path / "a" / "b"
    assert check_file(tmp_path / "c" / "d.nii.gz", "-o").name == "d.nii.gz"
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_no_folder_and_a_folder_no_file(tmp_path):
    file = tmp_path / "results"
    file.write_text("x")
    with pytest.raises(ConfigError, match="results is a file"):
        check_folder(file, "-o")
    with pytest.raises(ConfigError, match=r"cannot be written: .*no folder"):
        check_folder(file / "below", "-o")
    with pytest.raises(ConfigError, match="is a folder"):
        check_file(tmp_path, "-o")


@pytest.mark.parametrize("spelling", ["plain", "relative", "link", "hard link"])
def test_an_input_is_never_overwritten_whatever_it_is_called(tmp_path, monkeypatch, spelling):
    source = tmp_path / "warped.nii.gz"
    source.write_text("image")
    given = source
    monkeypatch.chdir(tmp_path)
    if spelling == "relative":
        given = os.path.join(".", "x", "..", "warped.nii.gz")  # noqa: PTH118 (not normalised)
        (tmp_path / "x").mkdir()
    elif "link" in spelling:
        given = tmp_path / "other.nii.gz"
        (given.hardlink_to if spelling == "hard link" else given.symlink_to)(source)
    with pytest.raises(ConfigError, match="is an input of this command"):
        check_folder(tmp_path, "-o", inputs=(given, None), writes=("warped.nii.gz",))
    with pytest.raises(ConfigError, match="is an input of this command"):
        check_file(source, "-o", inputs=(given,))
    check_folder(tmp_path, "-o", inputs=(given,), writes=("metrics.json",))
    assert source.read_text() == "image"
