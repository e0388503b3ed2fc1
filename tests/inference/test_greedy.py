"""The compositional solver recovers known deformations without folds, refines, and treats samples by themselves."""

from __future__ import annotations

import math

import pytest
import torch

from medreg.errors import ConfigError, NumericalError
from medreg.geometry.compose import compose, invert
from medreg.geometry.dense import Dense
from medreg.geometry.derivatives import jacobian_determinant
from medreg.geometry.warp import warp
from medreg.inference.accumulation import Composition, LogDomain, pulled_back
from medreg.inference.directions import Adaptive, Longest
from medreg.losses.regularisation.bending import Bending
from medreg.losses.regularisation.diffusion import Diffusion
from medreg.losses.regularisation.none import NoRegularisation
from medreg.losses.similarity.lncc import LNCC
from medreg.losses.similarity.ssd import SSD
from medreg.models.greedy import Greedy

LEVELS = [
    {"shrink": 2, "sigma": 1.0, "iterations": 30, "learning_rate": 0.5},
    {"shrink": 1, "sigma": 0.0, "iterations": 30, "learning_rate": 0.5},
]
SHORT = [level | {"iterations": 6} for level in LEVELS]  # where it does not matter how good the answer is


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


def bump(shape, size):
    """A displacement (1, D, *shape) of a given peak, zero at the border."""
    window = torch.ones(shape)
    for axis, n in enumerate(shape):
        line = torch.sin(math.pi * torch.arange(n) / (n - 1)).square()
        window = window * line.reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return size * torch.stack([window, *[-0.6 * window] * (len(shape) - 1)])[None]


def greedy(*, similarity=None, regularisation=None, **changes):
    settings = {
        "levels": LEVELS,
        "direction": Adaptive(betas=(0.8, 0.99), damping=1.0),
        "accumulation": Composition(),
        "fluid": 1.0,
        "elastic": 0.3,
        "longest": 0.5,
        "tolerance": 0.0,
    }
    return Greedy(
        similarity or SSD(weight=1.0), regularisation or NoRegularisation(weight=0.0), **(settings | changes)
    )


def inside(field):
    return field[(..., *[slice(5, -5)] * (field.ndim - 2))]


def length(field):
    return inside(field).square().sum(1).sqrt().mean()


@pytest.mark.parametrize("direction", [Adaptive(betas=(0.8, 0.99), damping=1.0), Longest(momentum=0.5)])
@pytest.mark.parametrize("accumulation", [Composition(), LogDomain(steps=5)])
def test_recovers_a_smooth_deformation_and_can_be_inverted(direction, accumulation):
    moving, truth = texture((48, 40)), bump((48, 40), 3.0)
    answer = greedy(direction=direction, accumulation=accumulation)(warp(moving, truth), moving)
    assert length(truth) > 1.2
    assert length(answer.displacement - truth) < 0.35
    assert jacobian_determinant(answer.displacement).min() > 0
    assert invert(answer.displacement).residual_voxels_max < 0.01


def test_recovers_a_translation_with_local_correlation():
    image = texture((60, 52))
    fixed, moving = image[..., 6:54, 6:46], image[..., 3:51, 8:48]  # fixed(x) = moving(x + (3, −2))
    model = greedy(similarity=LNCC(window=7, weight=1.0), fluid=3.0, elastic=0.5)
    mean = inside(model(fixed, 0.5 * moving + 0.2).displacement).mean(dim=(2, 3))
    torch.testing.assert_close(mean, torch.tensor([[3.0, -2.0]]), rtol=0, atol=0.15)


def test_works_in_three_dimensions():
    moving, truth = texture((20, 22, 18)), bump((20, 22, 18), 1.5)
    fixed = warp(moving, truth)
    answer = greedy()(fixed, moving)
    left = (warp(moving, answer.displacement) - fixed).square().mean()
    assert left < 0.1 * (moving - fixed).square().mean()


@pytest.mark.parametrize("seed", range(2))
def test_unlike_images_do_not_make_folds(seed):
    """Nothing to match: every update is as long as it may be, in another direction at every voxel."""
    generator = torch.Generator().manual_seed(seed)
    fixed, moving = torch.rand(2, 1, 1, 24, 20, 16, generator=generator)
    for accumulation in (Composition(), LogDomain(steps=6)):
        model = greedy(accumulation=accumulation, fluid=1.5, elastic=0.7)
        found = model(fixed, moving).displacement
        assert found.abs().max() > 0.5
        assert jacobian_determinant(found).min() > 0


def test_updates_are_never_longer_than_allowed():
    moving = texture((32, 30))
    once = [{"shrink": 1, "sigma": 0.0, "iterations": 1, "learning_rate": 50.0}]
    model = greedy(levels=once, elastic=0.0, longest=0.4)
    found = model(warp(moving, bump((32, 30), 3.0)), moving).displacement
    assert found.square().sum(1).sqrt().max() == pytest.approx(0.4, rel=1e-4)


def test_energy_decreases_and_the_answer_has_the_lowest_seen():
    moving = texture((32, 32))
    fixed = warp(moving, bump((32, 32), 2.0))
    once = [{"shrink": 1, "sigma": 0.0, "iterations": 25, "learning_rate": 0.2}]
    model, seen = greedy(levels=once, regularisation=Diffusion(weight=0.01)), []
    answer = model(fixed, moving, callback=lambda progress: seen.append(progress.energies))
    energies = torch.stack(seen)
    assert len(seen) == 26
    assert (energies[:8].diff(dim=0) < 0).all()
    value = model.energy(fixed, moving, answer.deformation)
    torch.testing.assert_close(value.similarity + value.regularisation, energies.min(0).values)
    assert energies.min() < 0.1 * energies[0]


@pytest.mark.parametrize("regularisation", [Diffusion(weight=0.05), Bending(weight=0.1)])
def test_gradient_is_that_of_the_energy_after_an_update(regularisation):
    """d/dε E(φ ∘ (id + ε d)) at 0, by differences, for the regulariser's part."""
    u, way = bump((24, 20), 4.0).double(), texture((24, 20), 3).double() * bump((24, 20), 1.0).double()
    leaf = u.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(regularisation(leaf).sum(), leaf)
    # to first order the composition adds (I + ∂u) d; see the second assertion for what that is worth
    moved = [regularisation(compose(u, step * way)) for step in (1e-4, -1e-4)]
    slope = float((moved[0] - moved[1]) / 2e-4)
    assert float((pulled_back(gradient, u) * way).sum()) == pytest.approx(slope, rel=1e-3)
    assert float((gradient * way).sum()) != pytest.approx(slope, rel=0.02)


def test_a_regulariser_smooths_like_the_smoothing_does():
    moving = texture((32, 32)) + 0.1 * torch.rand(32, 32, generator=torch.Generator().manual_seed(0))
    fixed = warp(moving, bump((32, 32), 2.0))
    rough, penalised, smoothed = (
        Bending(weight=1.0)(greedy(**changes)(fixed, moving).displacement)
        for changes in (
            {"elastic": 0.0, "fluid": 0.8},
            {"elastic": 0.0, "fluid": 0.8, "regularisation": Bending(weight=0.05)},
            {"elastic": 0.7, "fluid": 0.8},
        )
    )
    assert penalised < 0.6 * rough
    assert smoothed < 0.6 * rough


def test_refinement_improves_a_bad_start():
    moving, truth = texture((48, 40)), bump((48, 40), 3.0)
    fixed, start = warp(moving, truth), bump((48, 40), -1.5)
    for accumulation in (Composition(), LogDomain(steps=5)):
        answer = greedy(accumulation=accumulation)(fixed, moving, initial=start)
        assert length(answer.displacement - truth) < 0.25 * length(start - truth)


def test_no_updates_return_the_start():
    image, start = texture((24, 20)), bump((24, 20), 1.0)
    still = [{"shrink": 1, "sigma": 0.0, "iterations": 0, "learning_rate": 0.1}]
    torch.testing.assert_close(greedy(levels=still)(image, image, initial=start).displacement, start)
    assert greedy(levels=still)(image, image).displacement.abs().max() == 0


def test_samples_of_a_batch_are_independent():
    moving = torch.cat((texture((32, 28)), 3 * texture((32, 28), 1)))
    fixed = torch.cat([warp(m[None], bump((32, 28), s)) for m, s in zip(moving, (2, -1), strict=True)])
    both = greedy(levels=SHORT)(fixed, moving).displacement
    alone = [greedy(levels=SHORT)(f[None], m[None]).displacement for f, m in zip(fixed, moving, strict=True)]
    torch.testing.assert_close(both, torch.cat(alone), rtol=0, atol=1e-3)


def test_masked_voxels_do_not_pull():
    moving = texture((40, 36))
    fixed = warp(moving, bump((40, 36), 2.0))
    mask = torch.ones_like(fixed)
    mask[..., 14:22, 14:22] = 0
    damaged = torch.where(mask > 0, fixed, torch.ones_like(fixed))
    finest = [{"shrink": 1, "sigma": 0.0, "iterations": 30, "learning_rate": 0.5}]
    model = greedy(levels=finest)
    one, two = (model(f, moving, fixed_mask=mask).displacement for f in (fixed, damaged))
    torch.testing.assert_close(one, two)
    hidden = moving.masked_fill(mask == 0, float("nan"))
    answer = model(fixed, hidden, moving_mask=mask).displacement
    assert torch.isfinite(answer).all()
    assert answer.abs().max() > 0.5


def test_converged_levels_end_early():
    moving = texture((32, 32))
    fixed = warp(moving, bump((32, 32), 1.0))
    long, seen = [{"shrink": 1, "sigma": 0.0, "iterations": 400, "learning_rate": 0.3}], []
    greedy(levels=long, tolerance=0.02)(fixed, moving, callback=lambda p: seen.append(p.iteration))
    assert 10 < len(seen) < 250


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_runs_where_gradients_are_off(mode):
    moving = texture((24, 24))
    fixed = warp(moving, bump((24, 24), 1.0))
    expected = greedy(levels=SHORT)(fixed, moving).displacement
    with mode():
        answer = greedy(levels=SHORT)(fixed + 0, moving + 0).displacement
    assert not answer.requires_grad
    torch.testing.assert_close(answer, expected)


def test_not_a_number_is_reported():
    image = texture((24, 24))
    broken = image.clone()
    broken[..., 3, 3] = float("nan")
    with pytest.raises(NumericalError, match="check the images"):
        greedy()(image, broken)


@pytest.mark.parametrize("change", [{"fluid": -1.0}, {"elastic": -0.1}, {"longest": 0.0}, {"levels": []}])
def test_impossible_settings_are_refused(change):
    with pytest.raises(ConfigError, match=r"model\."):
        greedy(**change)


def test_no_state_is_kept_between_calls():
    moving = texture((24, 24))
    fixed = warp(moving, bump((24, 24), 1.0))
    model = greedy(levels=SHORT)
    assert not list(model.parameters())
    torch.testing.assert_close(model(fixed, moving).displacement, model(fixed, moving).displacement)
    assert Dense().parameter_shape((24, 24)) == model(fixed, moving).parameters.shape[1:]
