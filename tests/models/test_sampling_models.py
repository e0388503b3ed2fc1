"""Models that answer with samples: what they draw, when, and from which seed."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from medreg.config.compose import compose
from medreg.config.instantiate import build
from medreg.errors import ConfigError
from medreg.geometry.dense import Dense
from medreg.geometry.svf import exponential
from medreg.geometry.warp import warp
from medreg.inference.registration import Registration
from medreg.losses.divergence import smoothness_divergence
from medreg.models.base import RegistrationModel
from medreg.models.ensemble import Ensemble
from medreg.models.equivariance import Equivariance
from medreg.models.probabilistic_voxelmorph import ProbabilisticVoxelMorph
from medreg.models.voxelmorph import VoxelMorph

SHAPES = [(20, 13), (9, 12, 10)]


def probabilistic(ndim, **changes):
    torch.manual_seed(0)
    options = {
        "encoder": [4, 6],
        "decoder": [6, 6, 5, 4],
        "steps": 4,
        "downsize": 2,
        "precision": 10.0,
        "divergence": "exact",
        "divergence_weight": 1.0,
        "samples": 3,
        "seed": 5,
    }
    return ProbabilisticVoxelMorph(ndim, **options | changes)


def dropout_model(ndim=2, *, dropout=0.3, samples=4, seed=0, scale=1.0):
    torch.manual_seed(0)
    return VoxelMorph(
        ndim,
        Dense(),
        encoder=[4, 6],
        decoder=[6],
        out=[4],
        last_layer_scale=scale,
        dropout=dropout,
        samples=samples,
        seed=seed,
    )


def images(shape, batch=2):
    generator = torch.Generator().manual_seed(1)
    return torch.rand(2, batch, 1, *shape, generator=generator).unbind(0)


class Shift(RegistrationModel):
    """Answers with one displacement, whatever it sees."""

    def __init__(self, *length):
        super().__init__()
        self.length = nn.Parameter(torch.tensor(length))

    def forward(self, fixed, moving, *, spacing_mm=None, fixed_mask=None, moving_mask=None):
        view = (1, -1, *[1] * (fixed.ndim - 2))
        field = self.length.view(view).expand(len(fixed), -1, *fixed.shape[2:])
        return Registration(field, field, field)


@pytest.mark.parametrize("shape", SHAPES)
def test_probabilistic_voxelmorph_starts_as_released(shape):
    model = probabilistic(len(shape))
    mean, log_variance = model.distribution(*images(shape))
    assert mean.shape == log_variance.shape == (2, len(shape), *shape)
    torch.testing.assert_close(log_variance, torch.full_like(log_variance, -10.0), rtol=0, atol=1e-6)
    assert 0 < float(mean.detach().abs().max()) < 1e-2
    spread = [float(layer.weight.detach().std()) for layer in (model.mean, model.log_variance)]
    assert spread[0] == pytest.approx(1e-5, rel=0.2)
    assert spread[1] == pytest.approx(1e-10, rel=0.2)
    first = model.network.encoder[0][0]
    expected = math.sqrt(2 / (2 * 3 ** len(shape)))
    assert float(first.weight.detach().std()) == pytest.approx(expected, rel=0.25)
    assert float(first.bias.detach().abs().max()) == 0.0


def test_probabilistic_voxelmorph_has_the_released_sizes():
    model = build(compose(["model=voxelmorph_probabilistic", "++data.ndim=3"]).model)
    sizes = [tuple(layer[0].weight.shape[:2]) for layer in [*model.network.encoder, *model.network.decoder]]
    assert sizes == [(16, 2), (32, 16), (32, 32), (32, 32), (32, 32), (32, 64), (32, 64), (32, 64)]
    assert [tuple(layer[0].weight.shape[:2]) for layer in model.network.out] == [(32, 48), (16, 32), (16, 16)]


@pytest.mark.parametrize("shape", SHAPES)
def test_answer_is_that_of_the_mean_and_carries_the_divergence(shape):
    model = probabilistic(len(shape), divergence_weight=0.5).eval()
    nn.init.normal_(model.mean.weight, std=0.5)
    fixed, moving = images(shape)
    answer = model(fixed, moving)
    mean, log_variance = model.distribution(fixed, moving)
    torch.testing.assert_close(answer.displacement, model.integrate(mean))
    divergence = 0.5 * smoothness_divergence(mean, log_variance, precision=10.0)
    torch.testing.assert_close(answer.divergence, divergence)
    assert answer.samples.shape == (3, 2, len(shape), *shape)


def test_integration_on_the_smaller_grid_is_that_of_the_full_one_for_smooth_velocities():
    axis = torch.linspace(0, math.pi, 33)
    smooth = (axis.sin()[:, None] * axis.sin()[None]).expand(1, 2, 33, 33) * 2.0
    found = probabilistic(2).integrate(smooth)
    torch.testing.assert_close(found, exponential(smooth, steps=8), rtol=0, atol=0.05)
    whole = probabilistic(2, downsize=1, steps=8).integrate(smooth)
    torch.testing.assert_close(whole, exponential(smooth, steps=8))


def test_spread_of_samples_is_that_of_the_distribution():
    model = probabilistic(2, steps=0, downsize=1, samples=400).eval()
    nn.init.constant_(model.log_variance.bias, 2 * math.log(0.3))
    fixed, moving = images((6, 7), batch=1)
    assert float(model(fixed, moving).std().mean()) == pytest.approx(0.3, rel=0.02)


@pytest.mark.parametrize("make", [probabilistic, dropout_model])
def test_samples_depend_on_the_seed_alone(make):
    fixed, moving = images((12, 14))
    model = make(2, seed=1).eval()
    nn.init.normal_(model.log_variance.bias) if make is probabilistic else None
    torch.manual_seed(3)
    first = model(fixed, moving).samples
    state = torch.get_rng_state()
    second = model(fixed, moving).samples
    assert torch.equal(first, second)
    assert torch.equal(state, torch.get_rng_state())  # nobody else's chance is touched
    model.seed = 2
    assert not torch.allclose(model(fixed, moving).samples, first)
    assert float(first.std(0).min()) >= 0
    assert float(first.std(0).max()) > 0


@pytest.mark.parametrize("make", [probabilistic, dropout_model])
def test_listeners_hear_what_would_be_kept(make):
    fixed, moving = images((12, 14))
    model = make(2).eval()
    kept = model(fixed, moving)
    heard = []
    told = model(fixed, moving, listeners=[lambda draw: heard.append((draw.transition, draw.field))], draws=2)
    assert told.samples is None
    assert [k for k, _ in heard] == [0, 1]
    assert torch.equal(torch.stack([u for _, u in heard]), kept.samples[:2])
    assert model(fixed, moving, draws=0).samples is None
    torch.testing.assert_close(told.displacement, kept.displacement)
    assert model.train()(fixed, moving).samples is None


def test_dropout_is_on_in_training_and_for_samples_alone():
    fixed, moving = images((12, 14))
    model = dropout_model().eval()
    answer, again = model(fixed, moving), model(fixed, moving, draws=0)
    assert torch.equal(answer.displacement, again.displacement)
    assert not any(torch.allclose(u, answer.displacement) for u in answer.samples)
    assert not any(layer.training for layer in model.modules() if isinstance(layer, nn.Dropout))
    model.train()
    assert not torch.allclose(model(fixed, moving).displacement, model(fixed, moving).displacement)
    assert set(model.state_dict()) == set(dropout_model(dropout=0.0, samples=0).state_dict())
    plain = dropout_model(dropout=0.0, samples=0)
    plain.load_state_dict(model.state_dict())
    torch.testing.assert_close(plain(fixed, moving).displacement, answer.displacement)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: dropout_model(dropout=0.0), r"model\.samples=4 without dropout"),
        (lambda: dropout_model(dropout=1.0), r"model\.dropout"),
        (lambda: dropout_model(samples=1), "one sample has no spread"),
        (lambda: probabilistic(2, samples=-1), r"model\.samples is -1"),
        (lambda: probabilistic(2, precision=-1.0), r"model\.precision"),
        (lambda: probabilistic(2, downsize=0), r"model\.downsize"),
        (lambda: probabilistic(2, divergence="other"), r"model\.divergence"),
        (lambda: Ensemble([Shift(1.0, 0.0)]), "two"),
        (lambda: Equivariance(Shift(1.0, 0.0), size=0.0, perturb="both", samples=2, seed=0), r"model\.size"),
        (lambda: Equivariance(Shift(1.0, 0.0), size=1.0, perturb="none", samples=2, seed=0), "perturb"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_ensemble_is_the_mean_of_its_members():
    fixed, moving = images((6, 8))
    model = Ensemble([Shift(1.0, 0.0), Shift(3.0, 2.0)])
    answer = model(fixed, moving)
    torch.testing.assert_close(answer.displacement, Shift(2.0, 1.0)(fixed, moving).displacement)
    torch.testing.assert_close(answer.std()[0, :, 0, 0], torch.tensor([2.0, 2.0]) / math.sqrt(2))
    assert answer.samples.shape == (2, 2, 2, 6, 8)
    heard = []
    assert model(fixed, moving, listeners=[lambda draw: heard.append(draw.transition)]).samples is None
    assert heard == [0, 1]
    assert model(fixed, moving, draws=0).samples is None
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not model.train().training


class Equivariant(RegistrationModel):
    """Knows the true rigid perturbation of a bright blob: answers with the shift of its centre of mass."""

    def forward(self, fixed, moving, *, spacing_mm=None, fixed_mask=None, moving_mask=None):
        difference = centre(moving) - centre(fixed)
        field = difference.view(len(fixed), -1, *[1] * (fixed.ndim - 2)).expand(-1, -1, *fixed.shape[2:])
        return Registration(field, field, field)


def centre(image):
    ndim = image.ndim - 2
    axes = [torch.arange(n, dtype=image.dtype) for n in image.shape[2:]]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    return (image * grid).flatten(2).sum(2) / image.flatten(1).sum(1, keepdim=True).view(-1, 1).expand(
        -1, ndim
    )


@pytest.mark.parametrize("perturb", ["moving", "both"])
@pytest.mark.parametrize("shape", [(41, 37), (21, 23, 19)])
def test_a_model_that_moves_with_its_input_has_no_spread(shape, perturb):
    """Of a blob and its shifted copy the displacement at the blob is the same under every perturbation."""
    axes = [torch.arange(n, dtype=torch.float64) - (n - 1) / 2 for n in shape]
    square = sum(a.square() for a in torch.meshgrid(*axes, indexing="ij"))
    fixed = torch.exp(-square / 8)[None, None]
    moving = warp(fixed, torch.full((1, len(shape), *shape), -1.0, dtype=torch.float64))
    model = Equivariance(Equivariant(), size=2.0, perturb=perturb, samples=6, seed=0).eval()
    answer = model(fixed, moving)
    middle = tuple(n // 2 for n in shape)
    at_blob = answer.samples[(slice(None), 0, slice(None), *middle)]
    torch.testing.assert_close(at_blob, torch.ones_like(at_blob), rtol=0, atol=0.03)
    torch.testing.assert_close(answer.displacement, torch.ones_like(answer.displacement), rtol=0, atol=1e-2)


def test_a_model_that_ignores_its_input_spreads_as_the_perturbations():
    fixed, moving = images((30, 24))
    model = Equivariance(Shift(0.0, 0.0), size=2.0, perturb="moving", samples=50, seed=0)
    spread = model(fixed, moving).std()
    assert float(spread[..., 15, 12].mean()) == pytest.approx(2 / math.sqrt(3), rel=0.2)
    assert torch.equal(model(fixed, moving).samples, model(fixed, moving).samples)
    both = Equivariance(Shift(0.0, 0.0), size=2.0, perturb="both", samples=5, seed=0)
    assert float(both(fixed, moving).std().max()) < 1e-5


def test_a_rotation_is_rigid_in_millimetres():
    model = Equivariance(Shift(0.0, 0.0, 0.0), size=3.0, perturb="moving", samples=2, seed=0)
    spacing = torch.tensor([[1.0, 1.5, 4.0]])
    matrix = model._matrices(spacing, (20, 18, 8), torch.Generator().manual_seed(0))[0, :3, :3]
    physical = torch.diag(spacing[0]) @ matrix @ torch.diag(1 / spacing[0])
    torch.testing.assert_close(physical @ physical.T, torch.eye(3), rtol=0, atol=1e-5)
