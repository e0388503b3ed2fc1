"""`medreg evaluate learn2reg` and the evaluator of every run: one vocabulary, and one number a name."""

from __future__ import annotations

import learn2reg_tasks as tasks
import numpy as np
import pytest
import torch

from medreg.io.image import read_image, read_labels
from medreg.io.points import read_points
from medreg.metrics.evaluator import CaseEvaluator
from medreg.studies.learn2reg.evaluate import evaluate

SETTINGS = {"surface_definition": "area", "tre_interpolation": "cubic", "crop": 2, "masked": True}


def tensor(array):
    return torch.from_numpy(np.ascontiguousarray(array))[None, None]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The rows of the first case by both ways: (structure, metric) → (value, unit)."""
    task = tasks.paired(tmp_path_factory.mktemp("task"))
    # No position leaves the grid: official code takes such voxels for background, warping elsewhere rounds them first.
    sides = zip(tasks.grid(), tasks.SHAPE, strict=True)
    window = np.prod([np.sin(np.pi * axis / (size - 1)) for axis, size in sides], axis=0)
    tasks.save_field(task.fields, "disp_0001_0001", (window[..., None] * tasks.waves(1.3)).astype(np.float32))
    evaluation = evaluate(task.fields, task.data, task.config)
    first = evaluation.config.pairs[0]
    challenge = {
        (r.structure, r.metric): (r.value, r.unit)
        for case, r in evaluation.metric_rows()
        if case == first.case
    }
    files = {side: task.data / getattr(first, side) for side in ("fixed", "moving")}
    batch = {}
    for side, file in files.items():
        image = read_image(file)
        batch[f"{side}_label"] = tensor(read_labels(file.parent.with_name("labelsTr") / file.name).array)
        points = file.parent.with_name("landmarksTr") / file.name.replace(".nii.gz", ".csv")
        batch[f"{side}_keypoints"] = torch.from_numpy(read_points(points))[None]
        spacing = torch.tensor([image.spacing_mm], dtype=torch.float64)
        batch["spacing_mm"] = spacing if side == "fixed" else batch["spacing_mm"]
        batch["keypoint_affine"] = torch.diag(torch.cat([spacing[0], torch.ones(1)]))[
            None
        ]  # of the moving image
    mask = task.data / "masksTr" / files["fixed"].name
    batch["fixed_mask"] = tensor((read_labels(mask).array == 1).astype(np.float32))
    field = read_field(task, first)
    evaluator = CaseEvaluator({f"label {code}": code for code in (1, 2, 3, 4, 5)}, **SETTINGS)
    ours = {(r.structure, r.metric): (r.value, r.unit) for r in evaluator(batch, field)}
    return challenge, ours


def read_field(task, pair):
    from medreg.studies.learn2reg.fields import FieldSource

    source = FieldSource(task.fields)
    values = source.read(source.find(pair), tasks.SHAPE).values
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(values, -1, 0), dtype=np.float64))[None]


@pytest.mark.parametrize("metric", ["dice", "hd95_mm", "assd_mm", "sd_log_jacobian", "folding_percent"])
def test_names_units_and_values_agree(both, metric):
    challenge, ours = ({key: row for key, row in rows.items() if key[1] == metric} for rows in both)
    assert set(challenge) == set(ours)
    assert len(challenge) == (6 if metric in ("dice", "hd95_mm", "assd_mm") else 1)
    for key, (value, unit) in challenge.items():
        assert ours[key][1] == unit
        assert value == pytest.approx(ours[key][0], abs=1e-6, nan_ok=True), key


def test_the_error_at_landmarks_is_the_official_one(both):
    challenge, ours = both
    assert challenge["all", "tre_lm_mm"] == (pytest.approx(ours["all", "tre_mm"][0], abs=1e-6), "mm")
