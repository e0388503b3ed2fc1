"""Real hearts (ACDC) on the grid of a model: they lie as they should, and keep their volumes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from data_build import data_module
from heart_data import dice

from medreg.data.records import Record
from medreg.data.shape_axes import found_axes
from medreg.io.sequence import read_label_sequence

pytestmark = pytest.mark.data
PLACES = np.array([0, 3, 2, 1], np.uint8)  # of ACDC's codes


@pytest.fixture
def acdc(shared_data):
    root = shared_data / "acdc_official"
    if not root.is_dir():
        pytest.skip("needs the official layout of ACDC")
    return root


def volumes(record: Record) -> np.ndarray:
    """Of LV, MYO and RV in the file, mL."""
    volume = read_label_sequence(record.label)
    return np.array([(volume.array == code).sum() for code in (3, 2, 1)]) * np.prod(volume.spacing_mm) / 1000


def test_patients_lie_right_and_keep_their_volumes(acdc):
    data = data_module("acdc_hearts", acdc, "cache.kind=none", "grid=lite")
    assert {stage: len(data.items(stage)) for stage in data.stages} == {"train": 63, "val": 9, "test": 18}
    assert data.split == data_module("acdc_segmentation", acdc, "split.test=0.2").split
    samples, ratios = data.samples("train"), []
    for number in range(0, 60, 15):
        sample, heart = samples[number], data.items("train")[number]
        shape = sample["shape"][0].numpy()
        assert shape.shape == (2, 64, 64, 32)
        left, right = (np.argwhere(shape[0] == place).mean(0) for place in (1, 3))
        assert right[0] < left[0]
        assert right[1] < left[1]
        blood = ((shape[0] == 1) | (shape[0] == 3)).sum((0, 1))
        layers = np.flatnonzero((shape[0] == 2).any((0, 1)))
        middle = len(layers) // 2
        assert blood[layers[middle:]].sum() > blood[layers[:middle]].sum()  # the base is at high Z
        for frame, record in enumerate(heart.frames):
            found = np.array([(shape[frame] == place).sum() for place in (1, 2, 3)]) * 25 / 1000
            ratios.append(found / volumes(record))
        affine = sample["affine"][0].numpy()
        assert np.linalg.det(affine[:3, :3]) > 0  # as that of the file: no mirror image
        assert sample["frame"].tolist() == [[record.position for record in heart.frames]]
    np.testing.assert_allclose(np.mean(ratios, 0), 1, atol=0.03)
    np.testing.assert_allclose(ratios, 1, atol=0.1)


def test_covariates_are_those_of_info_cfg(acdc):
    data = data_module("acdc_hearts", acdc, "cache.kind=none")
    told = data.training_covariates()
    assert set(told) == {"group", "height_cm", "weight_kg"}
    assert data.categories == {"group": ("NOR", "MINF", "DCM", "HCM", "RV")}
    assert torch.bincount(told["group"]).sum() == 63
    assert 150 < float(told["height_cm"].median()) < 190


def test_back_in_the_file_a_patient_is_what_he_was(acdc):
    data = data_module("acdc_hearts", acdc, "cache.kind=none", "grid=full")
    record = data.items("train")[0].frames[0]
    volume = read_label_sequence(record.label)
    placed = data.placing.to_grid(volume, data.labels)
    back = data.placing.back(placed.shape, placed.placement)
    assert back.shape == volume.array.shape
    assert min(dice(back, volume.array, code) for code in (1, 2, 3)) > 0.98


@pytest.mark.slow
def test_base_and_apex_of_every_labelled_frame(acdc):
    """All files of ACDC begin at the base, and no axis is guessed otherwise."""
    records = data_module("acdc_hearts", acdc).dataset.records()
    assert len(records) == 180
    turns = set()
    for record in records:
        volume = read_label_sequence(record.label)
        axes = found_axes(PLACES[volume.array[..., 0]], volume.affine, name=record.id)
        assert (axes.order[2], axes.signs[2], axes.notes) == (2, -1, ()), record.id
        turns.add((axes.order, axes.signs))
    assert len(turns) > 1  # hearts do not all lie alike in plane
