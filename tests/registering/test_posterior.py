"""A posterior of a pair of files: the spread of the map itself, whatever comes before the deformation."""

from __future__ import annotations

from functools import partial

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from gaussian_posterior import ReturnedTranslations, ToldTranslations
from tiny_task import identity_run

from medreg.api import register
from medreg.errors import CompositionError, ConfigError, DataError
from medreg.geometry.pair_transform import PairTransform
from medreg.inference.posterior_inference import Kept
from medreg.inference.sampling.draw import Draw
from medreg.io.field import read_displacement, voxel_to_lps_mm
from medreg.io.image import Volume
from medreg.io.stack import grid_of
from medreg.registering.pair import load_pair
from medreg.registering.posterior import PairGatherer, PosteriorRequest, wanted

SPACING = (1.0, 1.5, 2.0)
AFFINE = np.diag([-1.0, -1.5, 2.0, 1.0])


def volume(array):
    return Volume(array, AFFINE, SPACING[: array.ndim])


def blob(shape=(18, 16, 12), shift=0):
    """A ball of label 4 in the middle and its image."""
    centre = [size / 2 - 0.5 for size in shape]
    radius = np.sqrt(sum((g - c) ** 2 for g, c in zip(np.indices(shape), centre, strict=True)))
    image = (1 / (1 + np.exp(2 * (radius - 4))) + 0.05 * np.sin(np.indices(shape)[0])).astype(np.float32)
    label = np.where(radius < 4, 4, 0).astype(np.int32)
    return tuple(volume(np.roll(array, shift, axis=0)) for array in (image, label))


def registered(model, shape=(18, 16, 12), **more):
    (fixed, fixed_labels), (moving, moving_labels) = blob(shape), blob(shape, shift=1)
    options = {"affine": False, "initialise": "world", "preset": "general", "posterior": True, **more}
    labels = {"fixed_labels": fixed_labels, "moving_labels": moving_labels}
    return register(fixed, moving, model=model, surface=False, **{**labels, **options})


def value(rows, metric, structure="all"):
    return next(row.value for row in rows if (row.metric, row.structure) == (metric, structure))


@pytest.mark.parametrize("kind", [ToldTranslations, ReturnedTranslations])
def test_a_volume_gives_its_files(kind, tmp_path):
    model = kind((1.0, 0.0, 0.0), (0.5, 0.2, 0.1), chains=2)
    result = registered(model, output=tmp_path, posterior=PosteriorRequest("auto", keep=3))
    folder = tmp_path / "posterior"
    assert {file.name for file in folder.iterdir()} == {
        "mean_displacement.nii.gz", "displacement_sd.nii.gz", "displacement_sd_norm.nii.gz", "volumes.csv",
        "probability_label_4.nii.gz", "sample_000.nii.gz", "sample_001.nii.gz", "sample_002.nii.gz",
    }  # fmt: skip
    found = read_displacement(folder / "mean_displacement.nii.gz")
    np.testing.assert_allclose(found.displacement[:, 5, 5, 5], [1.0, 0.0, 0.0], atol=1e-5)
    spread = np.asarray(nib.load(folder / "displacement_sd.nii.gz").dataobj)[5, 5, 5, 0]
    np.testing.assert_allclose(spread, [0.5, 0.3, 0.2], rtol=1e-4)
    assert value(result.after, "displacement_sd_mm") == pytest.approx(np.sqrt(0.25 + 0.09 + 0.04), rel=1e-4)
    assert value(result.after, "samples") == 50
    assert value(result.after, "sample_dice", "label 4") > 0.8
    low, mean, high = (value(result.after, f"sample_volume{w}_ml", "label 4") for w in ("_low", "", "_high"))
    assert low <= mean <= high
    assert result.posterior.volume_ml("label 4") == pytest.approx((mean, low, high))
    assert result.posterior.count == 50
    np.testing.assert_allclose(
        np.asarray(nib.load(folder / "probability_label_4.nii.gz").dataobj),
        result.posterior.probabilities["label 4"],
    )
    assert len(result.posterior_picture().axes) > 6


def test_the_spread_is_that_of_the_sampled_maps_after_an_affine_stage():
    """A stretch and a turn before the deformation: field, SD and samples are of the whole map to the moving file."""
    (fixed, labels), generator = blob(), torch.Generator().manual_seed(0)
    world = torch.eye(4, dtype=torch.float64)
    world[:3, :3] = torch.tensor([[1.2, -0.3, 0.0], [0.4, 0.9, 0.1], [0.0, 0.2, 1.1]])
    world[:3, 3] = torch.tensor([3.0, -2.0, 1.0])
    pair = load_pair(fixed, fixed, labels=(None, labels), labels_alone=(False, True))
    gatherer, fields = PairGatherer(pair, {"ball": 4}, keep=20), []
    for number in range(20):
        field = torch.randn(1, 3, *fixed.shape, generator=generator)
        field[:, 1] += field[:, 0]
        sample = PairTransform(grid_of(fixed), grid_of(fixed), world, field)
        fields.append(voxel_to_lps_mm(sample.total_displacement().numpy(), AFFINE))
        gatherer([sample], Draw(number, field, torch.ones(1, dtype=torch.bool), torch.zeros(1)))
    posterior = gatherer.posterior()
    stacked = np.stack(fields)
    np.testing.assert_allclose(posterior.displacement_sd_mm, stacked.std(0, ddof=1), rtol=1e-4)
    mean = voxel_to_lps_mm(posterior.mean_displacement, AFFINE)
    np.testing.assert_allclose(mean, stacked.mean(0), atol=1e-4)
    kept = voxel_to_lps_mm(posterior.arrays.samples[7], AFFINE)
    np.testing.assert_allclose(kept, fields[7], atol=1e-5)


@pytest.mark.parametrize("shape", [(18, 16), (18, 16, 1), (18, 16, 5)])
def test_slices_are_sampled_by_themselves(shape, tmp_path):
    model = ToldTranslations((1.0, 0.0), (0.5, 0.2))
    result = registered(model, shape, mode="slices", output=tmp_path)
    expected = (2, 18, 16) if len(shape) == 2 else (3, *shape)
    assert result.posterior.mean_displacement.shape == expected
    assert result.posterior.displacement_sd_mm.shape == (3, *shape)
    sd = result.posterior.displacement_sd_mm.reshape(3, -1)
    np.testing.assert_allclose(
        sd, np.array([0.5, 0.3, 0.0])[:, None] * np.ones_like(sd), rtol=1e-4, atol=1e-6
    )
    assert nib.load(tmp_path / "posterior" / "displacement_sd_norm.nii.gz").shape == shape
    assert nib.load(tmp_path / "posterior" / "probability_label_4.nii.gz").shape == shape
    found = read_displacement(tmp_path / "posterior" / "mean_displacement.nii.gz")
    np.testing.assert_allclose(found.displacement, result.posterior.mean_displacement, atol=1e-5)
    assert result.posterior_picture().axes


def test_moving_labels_alone_have_a_use():
    result = registered(ToldTranslations((1.0, 0, 0), (0.5, 0.2, 0.1)), fixed_labels=None)
    assert list(result.posterior.probabilities) == ["label 4"]
    assert not [row for row in result.after if row.metric == "sample_dice"]
    with pytest.raises(DataError, match="--fixed-labels is not"):
        registered(ToldTranslations((1.0, 0, 0), (0.5, 0.2, 0.1)), fixed_labels=None, posterior=None)


def test_a_mask_restricts_the_spread(tmp_path):
    class Rising(ToldTranslations):
        def field(self, vector, fixed):
            ramp = torch.linspace(0, 2, fixed.shape[2]).view(1, 1, -1, 1, 1)
            return super().field(vector, fixed) * ramp

    mask = np.zeros((18, 16, 12), dtype=np.uint8)
    mask[0] = 1
    result = registered(Rising((0.0, 0.0, 0.0), (0.1, 0.1, 0.1)), fixed_mask=volume(mask))
    assert value(result.after, "displacement_sd_max_mm") == pytest.approx(0, abs=1e-6)


def test_fewer_than_two_samples_leave_the_registration_and_a_note(tmp_path):
    model = ToldTranslations((1.0, 0, 0), (0.5, 0.2, 0.1), samples=4)
    model.draws = model.draws[:1]
    result = registered(model, output=tmp_path)
    assert result.posterior is None
    assert any("fewer than two samples" in note for note in result.notes)
    assert not (tmp_path / "posterior").exists()
    with pytest.raises(CompositionError, match="--posterior"):
        result.posterior_picture()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"posterior": PosteriorRequest(None, samples=5)}, "--samples says nothing without --posterior"),
        ({"posterior": PosteriorRequest(None, keep=5)}, "--keep-samples says nothing without"),
        ({"posterior": PosteriorRequest("auto", samples=0)}, "--samples 0: give 2 or more"),
        ({"posterior": PosteriorRequest("auto", samples=1)}, "one sample has no spread"),
        ({"posterior": PosteriorRequest("auto", 4, 9)}, "--keep-samples 9 is more than --samples 4"),
        ({"posterior": PosteriorRequest("auto", keep=-1)}, "--keep-samples -1"),
        ({"posterior": "sgld"}, "another model registers here"),
        ({"posterior": True, "refine": True}, "--posterior does not go with --refine"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(given, told):
    with pytest.raises(ConfigError, match=told):
        registered(ToldTranslations((0.0,) * 3, (1.0,) * 3), **given)


def test_a_model_that_does_not_count_says_so():
    with pytest.raises(CompositionError, match="leave --samples out"):
        registered(ToldTranslations((0.0,) * 3, (1.0,) * 3), posterior=PosteriorRequest("auto", samples=9))


def test_a_run_without_samples_says_so(tmp_path):
    run = identity_run(tmp_path / "run")
    (fixed, _), (moving, _) = blob(), blob(shift=1)
    with pytest.raises(CompositionError, match="Identity gives one answer and no samples"):
        register(fixed, moving, ckpt=run, posterior=True)
    with pytest.raises(ConfigError, match="--posterior vi names the inference"):
        register(fixed, moving, ckpt=run, posterior="vi")


def test_requests_are_said_shortly_or_in_full():
    assert wanted(None) == wanted(False) == PosteriorRequest()
    assert wanted(True).kind == "auto"
    assert wanted("sgld") == PosteriorRequest("sgld")
    assert wanted(PosteriorRequest("vi", 7)).samples == 7


def test_a_run_on_a_crop_is_sampled_on_the_grid_of_the_file(tmp_path, monkeypatch):
    """Inside the crop the spread is that of the model; beyond it the field fades, and its spread with it."""
    monkeypatch.setenv("MEDREG_ALLOW", "gaussian_posterior")
    run = identity_run(tmp_path / "run", size=[12, 10, 8])
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["model"] = {
        "_target_": "gaussian_posterior.ToldTranslations",
        "mean": [1.0, 0.0, 0.0],
        "sd": [0.5, 0.2, 0.1],
        "chains": 2,
    }
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    (fixed, labels), (moving, moving_labels) = blob((24, 20, 16)), blob((24, 20, 16), shift=1)
    result = register(
        fixed,
        moving,
        ckpt=run,
        posterior=True,
        moving_labels=moving_labels,
        fixed_labels=labels,
        output=tmp_path,
    )
    assert result.posterior.count == 50
    sd = result.posterior.displacement_sd_mm
    np.testing.assert_allclose(sd[:, 12, 10, 8], [0.5, 0.3, 0.2], rtol=1e-4)
    assert sd[:, 0, 0, 0].max() < 0.5 * sd[:, 12, 10, 8].max()
    np.testing.assert_allclose(result.posterior.mean_displacement[:, 12, 10, 8], [1, 0, 0], atol=1e-4)
    assert list(result.posterior.probabilities) == ["label 4"]
    assert any("sees only" in note for note in result.notes)


class Killed(Exception):
    """Stands for a kill in the middle."""


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.3, 0.8])
def test_the_same_call_goes_on_after_a_kill(tmp_path, monkeypatch, share):
    monkeypatch.setattr("medreg.registering.solve.Kept", partial(Kept, every_s=0.0))
    short = (
        "inference.variational.iterations=12",
        "inference.burn_in=4",
        "inference.transitions=16",
        "inference.thin=2",
    )
    (fixed, _), (moving, labels) = blob((10, 9, 8)), blob((10, 9, 8), shift=1)

    def sampled(progress=None, place=None):
        return register(
            fixed, moving, moving_labels=labels, affine=False, initialise="world", surface=False, overrides=short,
            posterior=PosteriorRequest("sgld", state=place), progress=progress,
        ).posterior  # fmt: skip

    def kill(stage, done):
        if stage == "deformable" and done > share:
            raise Killed

    with pytest.raises(Killed):
        sampled(kill, tmp_path / "state")
    told = []
    found = sampled(lambda stage, done: told.append(done), tmp_path / "state")
    whole = sampled()
    assert not (tmp_path / "state").exists()
    assert min(told[2:]) > share - 0.1  # it did not begin anew
    np.testing.assert_array_equal(found.displacement_sd_mm, whole.displacement_sd_mm)
    np.testing.assert_array_equal(found.probabilities["label 4"], whole.probabilities["label 4"])
    assert found.count == whole.count == 16
