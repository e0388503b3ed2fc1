"""A posterior by options alone: every transformation, likelihood, prior and similarity is sampled, or refused."""

from __future__ import annotations

import pytest
import torch
from tiny_distance import tiny_distance

from medreg.config.compose import compose
from medreg.config.instantiate import build
from medreg.config.paths import config_dir
from medreg.errors import CompositionError
from medreg.inference.sampling.moments import Moments
from medreg.inference.smoothing import gaussian_smooth

SHAPES = {2: (13, 10), 3: (9, 11, 8)}
SPACING = (2.0, 1.0, 0.5)
FIELDS = ("dense", "svf", "ffd", "svffd")
AFFINE = ("affine", "rigid")


def options(name):
    return sorted(file.stem for file in (config_dir() / name).glob("*.yaml"))


def two_iterations(inference):
    short = ["inference.variational.iterations=2", "inference.variational.std=0.01"]
    short.append("inference.variational.factor=0.001")
    if inference == "vi":
        return [*short, "inference.samples=2"]
    return [*short, "inference.burn_in=0", "inference.transitions=2", "inference.thin=1"]


def sampled(*chosen, inference="sgld", ndim=2, masks=True):
    """Two transitions on a pair of smooth noise, off-centre masks, anisotropic voxels; mean and SD, voxels."""
    model = build(
        compose(["model=bayes", f"inference={inference}", *chosen, *two_iterations(inference)]).model
    )
    generator = torch.Generator().manual_seed(0)
    shape = SHAPES[ndim]
    fixed, moving = gaussian_smooth(torch.rand(2, 1, *shape, generator=generator), 1.0).split(1)
    inside = torch.zeros(1, 1, *shape)
    inside[(slice(None), slice(None), *[slice(1, -2)] * ndim)] = 1
    given = {"fixed_mask": inside, "moving_mask": inside.flip(2)} if masks else {}
    moments = Moments()
    found = model(fixed, moving, spacing_mm=torch.tensor([SPACING[:ndim]]), listeners=[moments], **given)
    assert moments.count == [model.inference.samples]
    mean, std = moments.mean(), moments.std()
    for each in (found.displacement, mean, std):
        assert each.shape == (1, ndim, *shape)
        assert each.isfinite().all()
    assert std.max() > 0
    return mean, std


@pytest.mark.parametrize("transformation", FIELDS)
def test_every_field_is_sampled(transformation):
    sampled(f"transformation={transformation}")


@pytest.mark.slow
@pytest.mark.parametrize("inference", ["vi", "sgld", "sghmc"])
@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("transformation", FIELDS)
def test_every_field_by_every_inference(transformation, ndim, inference):
    sampled(f"transformation={transformation}", ndim=ndim, inference=inference, masks=ndim == 2)


@pytest.mark.slow
@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("likelihood", options("likelihood"))
@pytest.mark.parametrize("prior", options("prior"))
def test_every_likelihood_with_every_prior(likelihood, prior, ndim):
    sampled(f"likelihood={likelihood}", f"prior={prior}", ndim=ndim)


@pytest.mark.parametrize("transformation", AFFINE)
@pytest.mark.parametrize("ndim", [2, 3])
def test_one_map_for_all_has_no_grid_to_smooth(transformation, ndim):
    with pytest.raises(CompositionError, match="smoothing=none"):
        sampled(f"transformation={transformation}", ndim=ndim)
    # A weighted sum of squared derivatives of its displacement is a proper prior of the matrix.
    sampled(f"transformation={transformation}", "smoothing=none", "prior=fixed", ndim=ndim)


def of_similarity(name, tmp_path, ndim):
    chosen = ["likelihood=similarity", f"similarity={name}"]
    if name == "mad":
        chosen += [f"similarity.ckpt={tiny_distance(tmp_path / 'distance', ndim=ndim)}", "similarity.tta_k=1"]
    return chosen


@pytest.mark.parametrize("name", ["mad", "nmi"])
def test_learned_and_informational_similarities_are_likelihoods(name, tmp_path):
    """Their gradient is what moves the chains: without it the prior alone would be sampled."""
    chosen = of_similarity(name, tmp_path, 2)
    mean, _ = sampled(*chosen)
    heavier, _ = sampled(*chosen, "likelihood.weight=3.0")
    assert not torch.equal(mean, heavier)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lncc", "mad", "mi", "mind", "ncc", "ngf", "nmi", "ssd"])
@pytest.mark.parametrize("ndim", [2, 3])
def test_every_similarity_is_a_likelihood(name, ndim, tmp_path):
    sampled(*of_similarity(name, tmp_path, ndim), "prior=regulariser", "regularisation=bending", ndim=ndim)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in options("regularisation") if name != "none"])
def test_every_regulariser_is_a_prior(name):
    sampled("prior=regulariser", f"regularisation={name}", ndim=3)
