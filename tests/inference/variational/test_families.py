"""Families: columns by segment, starting values, limits."""

from __future__ import annotations

import math

import pytest
import torch

from medreg.errors import ConfigError
from medreg.inference.variational.families import Full, Mixture, Structured

F64 = torch.float64


def fresh_of(dim: int, scale: torch.Tensor | float = 1.0, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    return lambda shape: scale * torch.randn(*shape, dim, generator=generator, dtype=F64)


def test_columns_are_normalised_in_each_tensor():
    family = Structured(7, 2, segments=[4, 3], dtype=F64)
    family.initialise(fresh_of(7))
    directions, lengths = family.directions.detach(), family.log_lengths.detach().exp()
    factor = family.factor().detach()
    for part, inside in ((0, slice(0, 4)), (1, slice(4, 7))):
        norm = (directions[:, inside].square().sum(-1) + 1e-3).sqrt()
        known = directions[:, inside] * (lengths[:, part] / norm).unsqueeze(-1)
        torch.testing.assert_close(factor[:, inside], known)


@pytest.mark.parametrize("parametrisation", ["normalised", "direct"])
def test_starting_values(parametrisation):
    """σ is a tenth of the RMS of a fresh tensor, a column a tenth of the RMS of its own fresh tensor, as its length."""
    scale = torch.cat([torch.full((400,), 2.0), torch.zeros(5)]).to(F64)
    family = Structured(405, 3, segments=[400, 5], parametrisation=parametrisation, dtype=F64)
    family.initialise(fresh_of(405, scale))
    std = family.log_std.detach().exp()
    assert not family.location.any()
    assert float(std[0]) == pytest.approx(0.2, rel=0.1)
    assert (std[:400] == std[0]).all()
    torch.testing.assert_close(std[400:], torch.full((5,), 1e-4, dtype=F64))  # a bias that starts as zeros
    lengths = family.factor().detach()[:, :400].norm(dim=-1)
    assert lengths.tolist() == pytest.approx([0.2] * 3, rel=0.1)


def test_a_mixture_starts_apart_with_equal_weights():
    family = Mixture(50, 2, 3, dtype=F64)
    family.initialise(fresh_of(50))
    q = family.distribution()
    torch.testing.assert_close(family.logits.detach(), torch.full((3,), -math.log(3), dtype=F64))
    assert (q.normals.location[0] - q.normals.location[1]).norm() > 1
    torch.testing.assert_close(
        family.normals.log_lengths.detach().exp(), torch.full((3, 2, 1), 0.1, dtype=F64)
    )


@pytest.mark.parametrize("parametrisation", ["normalised", "direct"])
def test_explicit_starting_values(parametrisation):
    family = Structured(6, 2, batch=(3,), segments=[2, 4], parametrisation=parametrisation, dtype=F64)
    rows = torch.randn(3, 2, 6, dtype=F64)
    family.start(mean=1.0, std=0.5, factor=rows)
    q = family.distribution()
    torch.testing.assert_close(q.factor, rows)
    torch.testing.assert_close(q.log_std.exp(), torch.full((3, 6), 0.5, dtype=F64))
    assert (q.mean == 1).all()
    family.start(mean=torch.zeros(6), std=0.5, factor=0.1)
    torch.testing.assert_close(family.factor(), torch.full((3, 2, 6), 0.1, dtype=F64))


def test_log_std_stays_in_its_limits_and_can_return():
    family = Structured(2, 0, dtype=F64)
    optimiser = torch.optim.SGD(family.parameters(), lr=100.0)
    family.log_std.sum().backward()
    optimiser.step()
    family.project()
    assert (family.log_std == -12).all()
    optimiser.zero_grad()
    (-family.distribution().entropy()).backward()  # the gradient is still there
    optimiser.step()
    family.project()
    assert (family.log_std == 4).all()


def test_the_full_family_is_any_covariance():
    family = Full(3, dtype=F64)
    covariance = torch.tensor([[2.0, 0.3, 0.1], [0.3, 1.0, -0.4], [0.1, -0.4, 0.5]], dtype=F64)
    lower = torch.linalg.cholesky(covariance)
    family.start(torch.zeros(3), lower)
    torch.testing.assert_close(family.distribution().covariance(), covariance)


def test_a_wrong_parametrisation_is_refused():
    with pytest.raises(ConfigError, match="choose normalised or direct"):
        Structured(3, 1, parametrisation="weights")
