"""The divergence of a predicted field from the smoothness prior, against a dense computation."""

from __future__ import annotations

import itertools

import pytest
import torch

from medreg.errors import ConfigError
from medreg.losses.divergence import degrees, smoothness_divergence


def laplacian(shape):
    """Dense D − A of face neighbours, (N, N) float64."""
    places = list(itertools.product(*map(range, shape)))
    number = {place: k for k, place in enumerate(places)}
    found = torch.zeros(len(places), len(places), dtype=torch.float64)
    for place, axis in itertools.product(places, range(len(shape))):
        other = tuple(x + (k == axis) for k, x in enumerate(place))
        if other in number:
            i, j = number[place], number[other]
            found[i, i] += 1
            found[j, j] += 1
            found[i, j] -= 1
            found[j, i] -= 1
    return found


def dense_divergence(mean, log_variance, precision):
    """KL of torch's own normals up to ½·ln|λL|, with a little of the identity added to L, per voxel."""
    shape = mean.shape[1:]
    voxels = mean[0].numel()
    prior = precision * laplacian(shape) + 1e-9 * torch.eye(voxels, dtype=torch.float64)
    total = 0.0
    for m, v in zip(mean, log_variance, strict=True):
        p = torch.distributions.MultivariateNormal(torch.zeros(voxels).double(), precision_matrix=prior)
        q = torch.distributions.MultivariateNormal(m.flatten(), torch.diag(v.exp().flatten()))
        constant = -0.5 * torch.linalg.slogdet(prior).logabsdet - 0.5 * voxels
        total += torch.distributions.kl_divergence(q, p) - constant
    return total / voxels


@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 5)])
def test_exact_form_is_the_divergence_of_a_dense_computation(shape):
    torch.manual_seed(0)
    mean, log_variance = torch.randn(2, 2, len(shape), *shape, dtype=torch.float64)
    found = smoothness_divergence(mean, log_variance, precision=3.0)
    expected = [dense_divergence(m, v, 3.0) for m, v in zip(mean, log_variance, strict=True)]
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 5)])
def test_released_form_is_the_released_formula(shape):
    torch.manual_seed(0)
    mean, log_variance = torch.randn(2, 1, len(shape), *shape, dtype=torch.float64)
    ndim, precision = len(shape), 10.0
    degree = laplacian(shape).diagonal().reshape(shape)
    sigma_term = (precision * degree * log_variance.exp() - log_variance).mean()
    steps = sum(mean.diff(dim=axis).square().mean() for axis in range(2, 2 + ndim))
    expected = 0.5 * ndim * (sigma_term + precision * 0.5 * steps / ndim)
    found = smoothness_divergence(mean, log_variance, precision=precision, form="released")
    torch.testing.assert_close(found, expected[None])


def test_interior_limit_is_ninety():
    size = 40
    zeros = torch.zeros(1, 3, size, size, size, dtype=torch.float64)
    for form in ("exact", "released"):
        found = float(smoothness_divergence(zeros, zeros, precision=10.0, form=form))
        mean_degree = 6 - 6 / size  # every face lacks a neighbour
        assert found == pytest.approx(0.5 * 3 * 10.0 * mean_degree, rel=1e-6)  # 90 without borders
    assert 0.5 * 3 * 10.0 * float(degrees((9, 9, 9))[0, 0, 4, 4, 4]) == 90.0


def test_gradient_and_an_axis_of_one_voxel():
    torch.manual_seed(0)
    mean, log_variance = torch.randn(2, 1, 2, 3, 1, dtype=torch.float64, requires_grad=True)
    for form in ("exact", "released"):
        assert torch.autograd.gradcheck(
            lambda m, v, form=form: smoothness_divergence(m, v, precision=2.0, form=form),
            (mean, log_variance),
        )


def test_another_form_is_refused():
    with pytest.raises(ConfigError, match="divergence"):
        smoothness_divergence(torch.zeros(1, 2, 3, 3), torch.zeros(1, 2, 3, 3), precision=1.0, form="other")
