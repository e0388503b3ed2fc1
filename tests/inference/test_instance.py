"""Instance optimisation recovers known deformations, refines, and never makes a start worse."""

from __future__ import annotations

import math

import pytest
import torch

from medreg.errors import ConfigError, NumericalError
from medreg.geometry.compose import compose
from medreg.geometry.dense import Dense
from medreg.geometry.derivatives import jacobian_determinant
from medreg.geometry.ffd import FreeForm, FreeFormVelocity
from medreg.geometry.svf import StationaryVelocity
from medreg.geometry.warp import warp
from medreg.inference.descent import LBFGS, Adam
from medreg.losses.regularisation.bending import Bending
from medreg.losses.regularisation.diffusion import Diffusion
from medreg.losses.similarity.lncc import LNCC
from medreg.losses.similarity.ssd import SSD
from medreg.models.optimise import InstanceOptimisation

LEVELS = [
    {"shrink": 2, "sigma": 1.0, "iterations": 40, "learning_rate": 0.2},
    {"shrink": 1, "sigma": 0.0, "iterations": 40, "learning_rate": 0.2},
]
SHORT = [level | {"iterations": 8} for level in LEVELS]  # where it does not matter how good the answer is


def texture(shape, seed=0):
    """A smooth image with structure everywhere, in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    axes = torch.meshgrid(*[torch.arange(n, dtype=torch.float32) for n in shape], indexing="ij")
    image = torch.zeros(shape)
    for _ in range(8):
        wave = 2 * math.pi * (torch.rand(len(shape), generator=generator) - 0.5) / 5
        phase = 6 * torch.rand(1, generator=generator)
        image += torch.sin(sum(k * a for k, a in zip(wave, axes, strict=True)) + phase)
    return ((image - image.min()) / (image.max() - image.min()))[None, None]


def smooth_displacement(shape, size):
    """A bump displacement (1, D, *shape) of a given peak, zero at the border."""
    window = torch.ones(shape)
    for axis, n in enumerate(shape):
        line = torch.sin(math.pi * torch.arange(n) / (n - 1)).square()
        window = window * line.reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return size * torch.stack([window, *[-0.6 * window] * (len(shape) - 1)])[None]


def optimiser(transformation=None, *, similarity=None, weight=0.01, **changes):
    settings = {
        "regularisation": Diffusion(weight=weight, units="mm"),
        "levels": LEVELS,
        "minimiser": Adam(betas=(0.9, 0.999), damping=1.0),
        "smoothing": 1.0,
        "tolerance": 0.0,
    }
    return InstanceOptimisation(
        similarity or SSD(weight=10.0), transformation or StationaryVelocity(5), **(settings | changes)
    )


def inside(field):
    return field[(..., *[slice(5, -5)] * (field.ndim - 2))]


@pytest.mark.parametrize(
    "transformation",
    [Dense(), StationaryVelocity(5), FreeForm(4), FreeFormVelocity(4, 5)],
    ids=lambda t: type(t).__name__,
)
def test_recovers_a_smooth_deformation(transformation):
    moving, truth = texture((48, 40)), smooth_displacement((48, 40), 3.0)
    fixed = warp(moving, truth)
    answer = optimiser(transformation)(fixed, moving)
    error = inside(answer.displacement - truth).square().sum(1).sqrt()
    assert inside(truth).square().sum(1).sqrt().mean() > 1.2
    assert error.mean() < 0.35
    assert jacobian_determinant(answer.displacement).min() > 0


def test_recovers_a_translation_with_local_correlation():
    image = texture((60, 52))
    fixed, moving = image[..., 6:54, 6:46], image[..., 3:51, 8:48]  # fixed(x) = moving(x + (3, −2))
    answer = optimiser(similarity=LNCC(window=7, weight=1.0), weight=1.0)(fixed, 0.5 * moving + 0.2)
    mean = inside(answer.displacement).mean(dim=(2, 3))
    torch.testing.assert_close(mean, torch.tensor([[3.0, -2.0]]), rtol=0, atol=0.15)


def test_works_in_three_dimensions():
    moving, truth = texture((20, 22, 18)), smooth_displacement((20, 22, 18), 1.5)
    fixed = warp(moving, truth)
    answer = optimiser()(fixed, moving)
    assert (warp(moving, answer.displacement) - fixed).square().mean() < 0.1 * (
        moving - fixed
    ).square().mean()


def test_refinement_improves_a_bad_start_by_composition():
    moving, truth = texture((48, 40)), smooth_displacement((48, 40), 3.0)
    fixed, start = warp(moving, truth), smooth_displacement((48, 40), -1.5)
    for transformation in (Dense(), StationaryVelocity(5)):
        answer = optimiser(transformation)(fixed, moving, initial=start)
        before = inside(start - truth).square().sum(1).sqrt().mean()
        after = inside(answer.displacement - truth).square().sum(1).sqrt().mean()
        assert after < 0.25 * before
        update = transformation(answer.parameters, (48, 40)).displacement
        torch.testing.assert_close(answer.displacement, compose(start, update))
        # displacement-type: the regulariser sees the total; velocity-type: the velocity of the update
        seen = answer.displacement if type(transformation) is Dense else answer.parameters
        torch.testing.assert_close(answer.regularised, seen)


def test_no_updates_return_the_start():
    image, start = texture((24, 20)), smooth_displacement((24, 20), 1.0)
    still = [{"shrink": 1, "sigma": 0.0, "iterations": 0, "learning_rate": 0.1}]
    torch.testing.assert_close(optimiser(levels=still)(image, image, initial=start).displacement, start)
    assert optimiser(levels=still)(image, image).displacement.abs().max() == 0


def test_energy_of_the_answer_is_the_lowest_seen():
    moving = texture((32, 32))
    fixed = warp(moving, smooth_displacement((32, 32), 2.0))
    wild = [{"shrink": 1, "sigma": 0.0, "iterations": 25, "learning_rate": 3.0}]
    model, seen = optimiser(levels=wild), []
    answer = model(fixed, moving, callback=lambda progress: seen.append(progress.energies))
    value = model.energy(fixed, moving, answer.deformation)
    energy = 10.0 * value.similarity + value.regularisation
    assert len(seen) == 26
    torch.testing.assert_close(energy, torch.stack(seen).min(0).values)
    assert energy <= seen[0]


def test_equal_images_do_not_move():
    image = texture((32, 30))
    assert optimiser()(image, image).displacement.abs().max() < 1e-3


def test_samples_of_a_batch_are_independent():
    moving = torch.cat((texture((32, 28)), 3 * texture((32, 28), 1)))
    fixed = torch.cat(
        [warp(m[None], smooth_displacement((32, 28), s)) for m, s in zip(moving, (2, -1), strict=True)]
    )
    both = optimiser(levels=SHORT)(fixed, moving).displacement
    alone = torch.cat(
        [optimiser(levels=SHORT)(f[None], m[None]).displacement for f, m in zip(fixed, moving, strict=True)]
    )
    torch.testing.assert_close(both, alone, rtol=0, atol=1e-3)


def test_masked_voxels_do_not_pull():
    moving = texture((40, 36))
    fixed = warp(moving, smooth_displacement((40, 36), 2.0))
    mask = torch.ones_like(fixed)
    mask[..., 14:22, 14:22] = 0
    damaged = torch.where(mask > 0, fixed, torch.ones_like(fixed))
    one = optimiser(levels=SHORT)(fixed, moving, fixed_mask=mask).displacement
    finest = [{"shrink": 1, "sigma": 0.0, "iterations": 20, "learning_rate": 0.2}]
    two = [optimiser(levels=finest)(f, moving, fixed_mask=mask).displacement for f in (fixed, damaged)]
    torch.testing.assert_close(two[0], two[1])
    assert torch.isfinite(one).all()


def test_millimetres_weigh_anisotropic_grids():
    moving = texture((32, 32))
    fixed = warp(moving, smooth_displacement((32, 32), 2.0))
    free = optimiser(weight=0.3)(fixed, moving, spacing_mm=torch.tensor([1.0, 1.0])).displacement
    scaled = optimiser(weight=0.3)(fixed, moving, spacing_mm=torch.tensor([[2.0, 2.0]])).displacement
    thick = optimiser(weight=0.3)(fixed, moving, spacing_mm=torch.tensor([[1.0, 8.0]])).displacement
    torch.testing.assert_close(free, scaled, rtol=0, atol=1e-4)  # diffusion has no unit
    # component 1 is now eight times longer in mm and component 0 an eighth as steep along axis 1
    assert thick.diff(dim=2)[:, 1].square().mean() < 0.5 * free.diff(dim=2)[:, 1].square().mean()


def test_converged_levels_end_early():
    moving = texture((32, 32))
    fixed = warp(moving, smooth_displacement((32, 32), 1.0))
    long = [{"shrink": 1, "sigma": 0.0, "iterations": 400, "learning_rate": 0.2}]
    seen = []
    answer = optimiser(levels=long, tolerance=0.02)(
        fixed, moving, callback=lambda progress: seen.append(progress.iteration)
    )
    assert 10 < len(seen) < 250
    assert (warp(moving, answer.displacement) - fixed).square().mean() < 0.1 * (
        moving - fixed
    ).square().mean()


def test_quasi_newton_on_a_coarse_spline():
    moving = texture((32, 32))
    fixed = warp(moving, smooth_displacement((32, 32), 2.0))
    levels = [{"shrink": 1, "sigma": 0.0, "iterations": 25, "learning_rate": 1.0}]
    model = optimiser(FreeForm(8), levels=levels, minimiser=LBFGS(history=10), smoothing=0.0)
    answer = model(fixed, moving)
    assert (warp(moving, answer.displacement) - fixed).square().mean() < 0.05 * (
        moving - fixed
    ).square().mean()


def test_smoothing_makes_updates_smooth():
    moving = texture((32, 32)) + 0.1 * torch.rand(32, 32, generator=torch.Generator().manual_seed(0))
    fixed = warp(moving, smooth_displacement((32, 32), 2.0))
    bumpy, smooth = (
        Bending(weight=1.0)(optimiser(Dense(), smoothing=s, weight=0.0)(fixed, moving).displacement)
        for s in (0.0, 2.0)
    )
    assert smooth < 0.1 * bumpy


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_runs_where_gradients_are_off(mode):
    moving = texture((24, 24))
    fixed = warp(moving, smooth_displacement((24, 24), 1.0))
    expected = optimiser(levels=SHORT)(fixed, moving).displacement
    with mode():
        answer = optimiser(levels=SHORT)(fixed + 0, moving + 0).displacement
    assert not answer.requires_grad
    torch.testing.assert_close(answer, expected)


def test_not_a_number_is_reported():
    image = texture((24, 24))
    broken = image.clone()
    broken[..., 3, 3] = float("nan")
    with pytest.raises(NumericalError, match="check the images"):
        optimiser()(image, broken)


@pytest.mark.parametrize(
    "change", [{"shrink": 0.5}, {"sigma": -1.0}, {"iterations": -1}, {"learning_rate": 0}]
)
def test_impossible_levels_are_refused(change):
    with pytest.raises(ConfigError, match="levels"):
        optimiser(levels=[LEVELS[0] | change])
    with pytest.raises(ConfigError, match="at least one level"):
        optimiser(levels=[])


def test_needs_no_training():
    model = optimiser()
    assert not model.trainable
    assert not list(model.parameters())
    assert "levels=2-1" in repr(model)


@pytest.mark.parametrize(
    "transformation", [StationaryVelocity(5), Dense(), FreeForm(4)], ids=lambda t: type(t).__name__
)
def test_fields_on_a_coarser_grid_than_the_images(transformation):
    moving, truth = texture((48, 40)), smooth_displacement((48, 40), 3.0)
    fixed, start = warp(moving, truth), smooth_displacement((48, 40), -1.0)
    coarse = [LEVELS[0], LEVELS[1] | {"field": 2, "learning_rate": 0.1}]
    seen = []
    model = optimiser(transformation, levels=coarse)
    answer = model(fixed, moving, callback=lambda progress: seen.append(progress.energies))
    assert answer.displacement.shape == truth.shape
    assert inside(answer.displacement - truth).square().sum(1).sqrt().mean() < 0.35
    # the answer is the very displacement that the last level evaluated
    similarity, _ = model.energy.dissimilarity(fixed, moving, answer.displacement)
    assert similarity * 10.0 <= torch.stack(seen[41:]).min()
    refined = model(fixed, moving, initial=start).displacement
    assert inside(refined - truth).square().sum(1).sqrt().mean() < 0.5


def test_a_field_finer_than_the_images_is_refused():
    with pytest.raises(ConfigError, match="field"):
        optimiser(levels=[LEVELS[0] | {"field": 1}])
