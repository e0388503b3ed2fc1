"""A posterior that is known exactly comes out of the task as it went in: rows, arrays, tables, files."""

from __future__ import annotations

import csv
import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gaussian_posterior import ReturnedTranslations, ToldTranslations
from scipy.special import erf

from medreg.config.compose import compose
from medreg.config.instantiate import build
from medreg.errors import CompositionError, ConfigError, DataError
from medreg.inference.sampling.run import ChainsStopped
from medreg.io.field import read_displacement
from medreg.losses.energy import Energy
from medreg.losses.regularisation.none import NoRegularisation
from medreg.losses.similarity.ssd import SSD
from medreg.metrics.evaluator import CaseEvaluator
from medreg.models.identity import Identity
from medreg.tasks.posterior import PosteriorTask
from medreg.tasks.posterior_files import slabs

SPACING = (1.5, 2.0, 4.0)
DEFAULTS = {"keep_samples": 0, "probe_voxels": 30, "band_mm": 4.0, "seed": 0, "keep_state_s": 30}


def batch(ndim, slices=3):
    """A block of label 7 that is the same in both images, on an anisotropic grid whose first two axes are flipped."""
    shape, count = ((14, 12, 10), 1) if ndim == 3 else ((14, 12), slices)
    image = torch.rand(count, 1, *shape, generator=torch.Generator().manual_seed(0))
    label = torch.zeros(count, 1, *shape, dtype=torch.int64)
    label[(slice(None), slice(None), *(slice(3, 9) for _ in shape))] = 7
    affine = torch.diag(torch.tensor([-SPACING[0], -SPACING[1], SPACING[2], 1.0], dtype=torch.float64))
    affine = affine.repeat(count, 1, 1)
    affine[:, 2, 3] = 4.0 * torch.arange(count)
    return {
        "fixed_image": image,
        "moving_image": image.clone(),
        "fixed_label": label,
        "moving_label": label.clone(),
        "spacing_mm": torch.tensor([SPACING[:ndim]] * count),
        "affine": affine,
        "slice_index": torch.arange(count) if ndim == 2 else torch.tensor([-1]),
        "case": ["a"] * count,
        "fixed_id": ["f"] * count,
        "moving_id": ["m"] * count,
    }


def task_of(model, **more):
    energy = Energy(SSD(weight=1.0), NoRegularisation(weight=0.0), padding="border", convention="exact")
    return PosteriorTask(
        model,
        energy,
        evaluator=CaseEvaluator({"block": 7}, surface=False),
        name="toy",
        **{**DEFAULTS, **more},
    )


def rows_of(result, method="toy"):
    return {(row.structure, row.metric): row.value for row in result.rows[method]}


@pytest.mark.parametrize("kind", [ToldTranslations, ReturnedTranslations])
@pytest.mark.parametrize("ndim", [2, 3])
def test_mean_and_spread_come_out_as_they_went_in(kind, ndim, tmp_path):
    mean, sd = (1.0, -0.5, 0.25)[:ndim], (0.6, 0.3, 0.2)[:ndim]
    result = task_of(kind(mean, sd), keep_samples=2).test_step(batch(ndim), 0)
    rows, expected = rows_of(result), np.hypot.reduce(np.multiply(sd, SPACING[:ndim]))
    assert rows["all", "displacement_sd_mm"] == pytest.approx(expected, rel=1e-4)
    assert rows["all", "displacement_sd_max_mm"] == pytest.approx(expected, rel=1e-4)
    assert rows["all", "sample_folding_percent"] == 0
    assert rows["all", "samples"] == 25
    assert ("all", "r_hat_max") not in rows  # draws that are no chain
    assert rows["all", "samples_per_second"] > 0
    for axis in range(ndim):
        component = result.arrays["displacement_std"].select(0 if ndim == 3 else 1, axis)
        torch.testing.assert_close(component, torch.full_like(component, sd[axis]), rtol=1e-4, atol=1e-6)
    written = result.writers["posterior"](tmp_path)
    found = read_displacement(tmp_path / "mean_displacement.nii.gz")
    assert found.shape == ((14, 12, 10) if ndim == 3 else (14, 12, 3))
    for axis, value in enumerate((*mean, 0.0)[:3]):
        np.testing.assert_allclose(found.displacement[axis], value, atol=1e-5)
    assert {file.name for file in written} >= {
        "sample_000.nii.gz",
        "sample_001.nii.gz",
        "probability_block.nii.gz",
    }
    assert not (tmp_path / "sample_002.nii.gz").exists()


def test_files_are_in_lps_millimetres(tmp_path):
    """Both axes run to the right and back in RAS, so one voxel along the first is +1.5 mm in LPS."""
    import nibabel as nib

    result = task_of(ToldTranslations((1.0, -0.5, 0.25), (0.6, 0.3, 0.2))).test_step(batch(3), 0)
    result.writers["posterior"](tmp_path)
    mean = np.asarray(nib.load(tmp_path / "mean_displacement.nii.gz").dataobj)[4, 4, 4, 0]
    np.testing.assert_allclose(mean, [1.5, -1.0, 1.0], atol=1e-5)
    spread = np.asarray(nib.load(tmp_path / "displacement_sd.nii.gz").dataobj)[4, 4, 4, 0]
    np.testing.assert_allclose(spread, [0.9, 0.6, 0.8], rtol=1e-4)
    norm = nib.load(tmp_path / "displacement_sd_norm.nii.gz")
    np.testing.assert_allclose(np.asarray(norm.dataobj), np.sqrt(0.81 + 0.36 + 0.64), rtol=1e-4)
    np.testing.assert_allclose(norm.affine, np.diag([-1.5, -2.0, 4.0, 1.0]), atol=1e-6)


def test_labels_volumes_and_overlap_over_the_samples(tmp_path):
    """Whole voxels along the first axis move a block of six: the overlap is one minus a sixth for each."""
    model = ToldTranslations((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), samples=4)
    model.draws = torch.tensor([0.0, 1.0, 1.0, 2.0]).view(4, 1, 1).repeat(1, 1, 3) * torch.tensor([1.0, 0, 0])
    model.sd = torch.ones(3)
    result = task_of(model).test_step(batch(3), 0)
    rows = rows_of(result)
    assert rows["block", "sample_dice"] == pytest.approx(np.mean([1, 5 / 6, 5 / 6, 4 / 6]))
    low, high = np.quantile([1, 5 / 6, 5 / 6, 4 / 6], [0.025, 0.975])
    assert rows["mean", "sample_dice_low"] == pytest.approx(low)
    assert rows["block", "sample_dice_high"] == pytest.approx(high)
    volume = 6**3 * np.prod(SPACING) / 1000
    for word in ("", "_low", "_high"):
        assert rows["block", f"sample_volume{word}_ml"] == pytest.approx(volume)
    probability = result.arrays["label_probability"][0, :, 5, 5]
    assert probability.tolist()[:9] == [
        0.0, 0.25, 0.75, 1.0, 1.0, 1.0, 1.0, 0.75, 0.25,
    ]  # fmt: skip
    result.writers["posterior"](tmp_path)
    with (tmp_path / "volumes.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["sample"] for row in rows] == ["0", "1", "2", "3"]
    assert float(rows[0]["volume_ml"]) == pytest.approx(volume)


def test_a_stack_counts_its_slices_together():
    whole = rows_of(task_of(ToldTranslations((0.0, 0.0), (0.1, 0.1))).test_step(batch(2, 3), 0))
    assert whole["block", "sample_volume_ml"] == pytest.approx(3 * 36 * np.prod(SPACING) / 1000)


def test_several_chains_give_traces_and_one_that_breaks_is_told(caplog):
    model = ToldTranslations((1.0, 0.0), (0.5, 0.5), samples=10, chains=2, broken=1)
    with caplog.at_level(logging.WARNING, logger="medreg"):
        result = task_of(model).test_step(batch(2), 0)
    assert "5 samples were not finite" in caplog.text
    assert rows_of(result)["all", "samples"] == 15
    traces = result.tables["traces"]
    assert {row["chain"] for row in traces} == {0, 1}
    assert {row["quantity"] for row in traces} == {"displacement, root mean square", "energy"}
    assert max(row["sample"] for row in traces if row["chain"] == 1) == 4


def test_fewer_than_two_samples_leave_the_registration_and_a_sentence(caplog):
    model = ToldTranslations((1.0, 0.0), (0.5, 0.5))
    model.draws = model.draws[:1]
    with caplog.at_level(logging.WARNING, logger="medreg"):
        result = task_of(model).test_step(batch(2), 0)
    assert "fewer than two samples" in caplog.text
    assert ("all", "displacement_sd_mm") not in rows_of(result)
    assert ("block", "dice") in rows_of(result)
    assert result.writers == {}


def test_what_cannot_be_asked_is_refused():
    with pytest.raises(CompositionError, match="no samples"):
        task_of(Identity()).test_step(batch(2), 0)
    with pytest.raises(ConfigError, match="keep_samples"):
        task_of(Identity(), keep_samples=-1)
    with pytest.raises(CompositionError, match="refine"):
        task_of(Identity(), refine=Identity())


def test_slices_at_equal_steps_are_a_volume_and_others_stand_alone():
    affine = torch.eye(4, dtype=torch.float64).repeat(3, 1, 1)
    affine[:, 2, 3] = torch.tensor([1.0, 3.0, 5.0])
    (slab,) = slabs(affine, torch.tensor([1, 3, 5]))
    assert (slab.name, slab.slices) == ("", [0, 1, 2])
    assert slab.affine[:3, 2].tolist() == [0, 0, 2]
    found = list(slabs(affine, torch.tensor([1, 3, 6])))
    assert [(slab.name, slab.slices) for slab in found] == [
        ("slice_1", [0]),
        ("slice_3", [1]),
        ("slice_6", [2]),
    ]


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_known_truth_gives_calibration(ndim):
    """The truth lies one standard deviation off along every axis, everywhere."""
    mean, sd, data = (1.0, -0.5, 0.25)[:ndim], (0.6, 0.3, 0.2)[:ndim], batch(ndim)
    model = ToldTranslations(mean, sd, samples=20, chains=2)
    data["displacement"] = model.field(model.mean + model.sd, data["fixed_image"])
    result = task_of(model).test_step(data, 0)
    rows = rows_of(result)
    assert rows["all", "z_rms"] == pytest.approx(1, rel=1e-4)
    assert rows["all", "z_mean"] == pytest.approx(1, rel=1e-4)
    assert rows["all", "nees"] == pytest.approx(1, rel=1e-3)
    assert rows["all", "coverage_50_percent"] == 0
    assert rows["all", "coverage_90_percent"] == 100
    score = erf(1 / np.sqrt(2)) + 2 * np.exp(-0.5) / np.sqrt(2 * np.pi) - 1 / np.sqrt(np.pi)
    assert rows["all", "crps_mm"] == pytest.approx(score * np.mean(np.multiply(sd, SPACING[:ndim])), rel=1e-4)
    assert rows["all", "crps_samples_mm"] == pytest.approx(rows["all", "crps_mm"], rel=0.2)
    assert rows["all", "r_hat_max"] < 1.3
    assert rows["all", "ess_min"] > 5
    table = result.tables["calibration"]
    assert {row["kind"] for row in table} >= {"coverage", "coverage_ranks", "ranks", "size", "reliability"}
    assert {row["method"] for row in table} == {"toy"}
    assert 0 <= rows["block", "label_ece"] <= 1


def test_an_empty_mask_is_named_before_any_work():
    data = {**batch(2), "fixed_mask": torch.zeros(3, 1, 14, 12)}
    with pytest.raises(DataError, match="Case a: the mask of the fixed image is empty"):
        task_of(ToldTranslations((0.0, 0.0), (1.0, 1.0))).test_step(data, 0)
    data["fixed_mask"][1] = 1  # slices without a body are none of its business
    rows = rows_of(task_of(ToldTranslations((0.0, 0.0), (1.0, 1.0))).test_step(data, 0))
    assert rows["all", "displacement_sd_mm"] == pytest.approx(2.5, rel=1e-4)


def test_chains_that_all_stop_leave_what_they_had_sampled(caplog):
    class Stopping(ToldTranslations):
        def forward(self, fixed, moving, *, listeners=(), **more):
            super().forward(fixed, moving, listeners=listeners)
            raise ChainsStopped("All 1 chains were stopped.", None)

    with caplog.at_level(logging.WARNING, logger="medreg"):
        result = task_of(Stopping((1.0, 0.0), (0.5, 0.5))).test_step(batch(2), 0)
    assert "Case a: All 1 chains were stopped." in caplog.text
    assert rows_of(result)["all", "samples"] == 25
    torch.testing.assert_close(result.arrays["displacement"][:, 0], torch.ones(3, 14, 12), atol=1e-5, rtol=0)
    silent = Stopping((1.0, 0.0), (0.5, 0.5))
    silent.draws = silent.draws[:0]
    with pytest.raises(ChainsStopped):
        task_of(silent).test_step(batch(2), 0)


class Killed(Exception):
    """As a `kill -9` would end it."""


@pytest.mark.slow
@pytest.mark.parametrize("inference", ["sgld", "vi"])
def test_a_killed_case_goes_on_to_the_same_bits(inference, tmp_path):
    options = ["model=bayes", f"inference={inference}", "inference.variational.iterations=12", "data.ndim=2"]
    options += {
        "vi": ["inference.samples=12"],
        "sgld": ["inference.transitions=20", "inference.thin=2", "inference.burn_in=2"],
    }[inference]
    node = compose([*options, "logger=none", "task.keep_state_s=0"]).task

    def tested(folder, stop=None):
        task = build(node)
        task.evaluator.labels, task.name = {"block": 7}, "bayes"
        task._trainer = SimpleNamespace(default_root_dir=str(folder))
        begin, heard = task.gatherer, []

        def heeding(case):
            gatherer = begin(case)
            take = gatherer._take

            def counted(*told):
                heard.append(told)
                if stop is not None and len(heard) > stop:
                    raise Killed
                take(*told)

            gatherer._take = counted
            return gatherer

        task.gatherer = heeding
        return task.test_step(batch(2), 0)

    whole = tested(tmp_path / "whole")
    with pytest.raises(Killed):
        tested(tmp_path / "killed", stop=5)
    assert list((tmp_path / "killed").rglob("*.state"))
    again = tested(tmp_path / "killed")
    assert not list((tmp_path / "killed").rglob("*.state"))
    for name in ("displacement", "displacement_mean", "displacement_std", "label_probability"):
        torch.testing.assert_close(again.arrays[name], whole.arrays[name], rtol=0, atol=0)
    assert again.tables["traces"] == whole.tables["traces"]
    # A state that loads in part, as of another version: the case begins anew, and nothing counts twice.
    with pytest.raises(Killed):
        tested(tmp_path / "other", stop=5)
    for file in (tmp_path / "other").rglob("sampling.state"):
        content = torch.load(file)
        del content["state_dict"]["listeners"][-1]["left_out"]
        torch.save(content, file)
    anew = tested(tmp_path / "other")
    assert anew.tables["traces"] == whole.tables["traces"]
    torch.testing.assert_close(
        anew.arrays["displacement_mean"], whole.arrays["displacement_mean"], rtol=0, atol=0
    )
    assert ("block", "sample_volume_ml") in {(row.structure, row.metric) for row in again.rows["bayes"]}
