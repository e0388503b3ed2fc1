"""Metrics of segmentations against numbers by hand."""

from __future__ import annotations

import math

import pytest
import torch

from medreg.errors import ConfigError, DataError
from medreg.metrics.segmentation import SegmentationEvaluator

LABELS = {"a": 1, "b": 7}


def batch(label, *, voxel_mm=(1.0, 2.0, 5.0)):
    affine = torch.diag(torch.tensor([*voxel_mm, 1.0], dtype=torch.float64))
    return {
        "label": label,
        "spacing_mm": torch.tensor([voxel_mm[:2]]),
        "affine": affine[None],
        "case": ["x"] * len(label),
    }


def square(code, *, at=0, shape=(1, 1, 8, 8)):
    label = torch.zeros(shape, dtype=torch.int64)
    label[..., at : at + 4, 2:6] = code
    return label


def table(rows):
    return {(row.structure, row.metric): row.value for row in rows}


def test_numbers_by_hand():
    found = table(SegmentationEvaluator(LABELS)(batch(square(1)), square(1, at=1)))
    assert found["a", "dice"] == pytest.approx(0.75)
    assert math.isnan(found["b", "dice"])
    assert found["mean", "dice"] == pytest.approx(0.75)
    assert found["a", "iou"] == pytest.approx(12 / 20)
    assert math.isnan(found["b", "iou"])
    assert found["mean", "iou"] == pytest.approx(0.6)
    assert found["a", "volume_ml"] == pytest.approx(16 * 10 / 1000)
    assert found["a", "volume_error_ml"] == 0
    assert 0 < found["a", "assd_mm"] <= 1.0


def test_a_structure_that_was_invented_or_missed_has_no_overlap():
    found = table(SegmentationEvaluator(LABELS)(batch(square(1)), square(7)))
    assert found["a", "dice"] == found["b", "dice"] == 0
    assert found["b", "volume_error_ml"] == pytest.approx(0.16)


def test_slices_of_a_stack_are_counted_together():
    label = square(1, shape=(3, 1, 8, 8))
    prediction = label.clone()
    prediction[2] = 0
    found = table(SegmentationEvaluator(LABELS)(batch(label), prediction))
    assert found["a", "dice"] == pytest.approx(0.8)
    assert found["a", "volume_ml"] == pytest.approx(0.32)


def test_without_truth_there_are_volumes_only():
    given = batch(square(1))
    del given["label"]
    assert {row.metric for row in SegmentationEvaluator(LABELS)(given, square(1))} == {"volume_ml"}


def test_mistakes_are_named():
    with pytest.raises(ConfigError, match="vanished"):
        SegmentationEvaluator(LABELS, vanished="never")
    with pytest.raises(DataError, match="one grid"):
        SegmentationEvaluator(LABELS)(batch(square(1)), square(1)[..., 1:])
