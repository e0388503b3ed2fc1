"""The label maps that a person brings: frames, codes and structures, or the reason why not."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from hearts_run import LABELS, written

from medreg.errors import ConfigError, DataError
from medreg.generating.source import (
    check_codes,
    check_labels,
    frames_in,
    read_ed_es,
    read_first,
    read_labels_option,
)
from medreg.io.image import Volume, read_labels


def test_words_of_codes():
    assert read_labels_option("LV=3, MYO=2,RV=1") == {"LV": 3, "MYO": 2, "RV": 1}
    assert list(check_labels({"RV": 1, "lv": 3, "MYO": 2}, LABELS).items()) == [
        ("LV", 3),
        ("MYO", 2),
        ("RV", 1),
    ]
    for text in ("LV", "LV=", "LV=a", "=1", "LV=1,LV=2", "LV=-1", ""):
        with pytest.raises(ConfigError, match="--labels"):
            read_labels_option(text)
    for stated, words in (
        ({"LV": 1, "MYO": 2}, "the run has LV, MYO, RV"),
        ({"LV": 1, "MYO": 2, "RV": 3, "LA": 4}, "the run has"),
        ({"LV": 1, "MYO": 2, "RV": 2}, "a code of its own"),
        ({"LV": 0, "MYO": 2, "RV": 3}, "0 is background"),
    ):
        with pytest.raises(ConfigError, match=words):
            check_labels(stated, LABELS)


def test_one_frame_of_several(files, heart):
    codes = np.array([0, 1, 2, 4])[heart]
    assert np.array_equal(read_first(files["ed"]).array[..., 0], codes[0])
    assert np.array_equal(read_first(files["cycle"], frame=3).array[..., 0], codes[3])
    assert np.array_equal(read_first(f"{files['cycle']}#3").array[..., 0], codes[3])
    for source, frame, error, words in (
        (files["cycle"], None, DataError, "10 frames.*--frame 0"),
        (files["cycle"], 10, DataError, r"frame 10 does not exist; it has 10 \(0 … 9\)"),
        (f"{files['cycle']}#3", 2, ConfigError, "names a frame, and so does"),
        (files["ed"].parent / "none.nii.gz", None, DataError, "does not exist"),
    ):
        with pytest.raises(error, match=words):
            read_first(source, frame=frame)


def test_ed_and_es_of_a_cycle_of_two_frames_and_of_two_files(tmp_path, files, heart):
    codes = np.moveaxis(np.array([0, 1, 2, 4])[heart[[0, 5]]], 0, -1)
    both = written(tmp_path / "both.nii.gz", heart[[0, 5]])
    for source in (files["cycle"], both, [files["ed"], files["es"]], codes):
        volume, notes = read_ed_es(source, cavity=1)
        assert np.array_equal(volume.array, codes)
        assert ("ES frame 5" in "".join(notes)) == (source is files["cycle"])


def test_frames_that_nobody_segmented_are_not_es(tmp_path, heart):
    heart[[1, 2, 3]] = 0
    volume, _ = read_ed_es(written(tmp_path / "sparse.nii.gz", heart), cavity=1)
    assert np.array_equal(volume.array[..., 1] > 0, heart[5] > 0)
    heart[1:] = 0
    with pytest.raises(DataError, match="ES is not there"):
        read_ed_es(written(tmp_path / "alone.nii.gz", heart), cavity=1)


def test_what_is_no_pair_is_refused(tmp_path, files, heart):
    moved = np.diag([5.0, 5.0, 8.0, 1.0])
    moved[0, 3] = 40.0
    other = written(tmp_path / "other.nii.gz", heart[5:6], moved)
    for source, error, words in (
        (files["ed"], DataError, "one frame, where ED and ES"),
        ([files["ed"], other], DataError, "another place in the world"),
        ([files["ed"]] * 3, ConfigError, "3 label maps"),
        (np.ones((4, 5)), DataError, r"give \(X, Y, Z\)"),
    ):
        with pytest.raises(error, match=words):
            read_ed_es(source, cavity=1)


def test_codes_that_nobody_explained_and_missing_structures(files, heart):
    volume = read_first(files["ed"])
    check_codes(volume, LABELS, stated=False)
    with pytest.raises(DataError, match=r"label 4.*the run's are LV=1,MYO=2,RV=3.*--labels LV=3,MYO=2,RV=1"):
        check_codes(volume, {"LV": 1, "MYO": 2, "RV": 3}, stated=False)
    volume.array[volume.array == 4] = 0
    with pytest.raises(DataError, match=r"no RV in frame 0.*--labels says"):
        check_codes(volume, LABELS, stated=True)


def test_label_maps_in_memory(files, heart):
    codes = np.array([0, 1, 2, 4], np.uint8)[heart[0]]
    image = nib.load(files["ed"])
    for source in (codes, image, Volume(codes, image.affine, (5.0, 5.0, 8.0)), read_labels(files["ed"])):
        volume = read_first(source)
        assert frames_in(source) == 1
        assert np.array_equal(volume.array[..., 0], codes)
        assert np.allclose(volume.affine, np.eye(4) if source is codes else image.affine)
