"""Structured and full normals against closed forms and torch.distributions."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import LowRankMultivariateNormal, MultivariateNormal, Normal, kl_divergence

from medreg.errors import ConfigError
from medreg.inference.variational.estimators import elbo
from medreg.inference.variational.full import FullNormal
from medreg.inference.variational.modes import MODES, draw_noise, samples_per_draw
from medreg.inference.variational.normal import LowRankNormal, diagonal, kl, kl_diagonal

F64 = torch.float64


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_normal(rank: int, dim: int = 6, batch: tuple[int, ...] = (), seed: int = 0) -> LowRankNormal:
    generator = seeded(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*batch, *shape, generator=generator, dtype=F64)

    return LowRankNormal(normal(dim), 0.4 * normal(dim), normal(rank, dim))


def reference(q: LowRankNormal) -> LowRankMultivariateNormal | MultivariateNormal:
    if q.rank == 0:
        return MultivariateNormal(q.location, covariance_matrix=torch.diag_embed((2 * q.log_std).exp()))
    return LowRankMultivariateNormal(q.location, q.factor.mT, (2 * q.log_std).exp())


def test_the_woodbury_block_has_the_known_numbers():
    """diag(1, 2, 0.5) + vvᵀ, v = (1, 0.5, −1), d = (0.3, −0.2, 0.7)."""
    variance = torch.tensor([1.0, 2.0, 0.5], dtype=F64)
    q = LowRankNormal(
        torch.tensor([0.3, -0.2, 0.7], dtype=F64),
        0.5 * variance.log(),
        torch.tensor([[1.0, 0.5, -1.0]], dtype=F64),
    )
    origin = torch.zeros(3, dtype=F64)
    assert float(q.log_det()) == pytest.approx(1.417066, abs=1e-6)
    assert float(q.entropy()) == pytest.approx(4.965349, abs=1e-6)
    assert float(q.log_prob(origin)) == pytest.approx(-3.850045, abs=1e-6)
    mahalanobis = -2 * q.log_prob(origin) - q.log_det() - 3 * math.log(2 * math.pi)
    assert float(mahalanobis) == pytest.approx(0.769394, abs=1e-6)
    assert float(kl_diagonal(q, origin, torch.ones(3, dtype=F64))) == pytest.approx(0.976467, abs=1e-6)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rank", range(6))
@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
def test_the_noise_gives_the_density_of_the_sample(mode, rank, batch):
    q = random_normal(rank, batch=batch, seed=rank)
    draws = q.draw(mode, seeded(7), pairs=2)
    assert draws.values.shape == (2 * samples_per_draw(mode, rank), *batch, 6)
    torch.testing.assert_close(draws.weights.sum(0), torch.ones(batch, dtype=F64))
    torch.testing.assert_close(draws.neg_log_q, -reference(q).log_prob(draws.values), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(draws.neg_log_q, -q.log_prob(draws.values), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(q.entropy(), reference(q).entropy(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("mode", MODES)
def test_the_samples_carry_the_gradient_of_their_density(mode):
    """The total derivative of −ln q by the noise is the one through samples and parameters."""
    q = random_normal(2)
    leaves = [tensor.requires_grad_() for tensor in (q.location, q.log_std, q.factor)]
    draws = q.draw(mode, seeded(1))
    shortcut = torch.autograd.grad(draws.neg_log_q.sum(), leaves, retain_graph=True, allow_unused=True)
    direct = torch.autograd.grad(-q.log_prob(draws.values).sum(), leaves)
    for one, other in zip(shortcut, direct, strict=True):
        torch.testing.assert_close(
            torch.zeros_like(other) if one is None else one, other, rtol=1e-9, atol=1e-9
        )


def test_equal_columns_have_finite_gradients():
    factor = torch.ones(3, 5, dtype=F64, requires_grad=True)
    zeros = torch.zeros(5, dtype=F64)
    LowRankNormal(zeros, zeros, factor).entropy().backward()
    assert torch.isfinite(factor.grad).all()
    assert torch.autograd.gradcheck(lambda v: LowRankNormal(zeros, zeros, v).entropy(), factor)


@pytest.mark.parametrize("rank", [0, 1, 3])
@pytest.mark.parametrize("mode", MODES)
def test_sticking_the_landing_has_no_noise_at_a_normal_posterior(mode, rank):
    """Every gradient is zero, not only its mean; that of the total derivative is not."""
    q = random_normal(rank, seed=4)
    target = reference(q)
    leaves = [tensor.clone().requires_grad_() for tensor in (q.location, q.log_std, q.factor)]
    draws = LowRankNormal(*leaves).draw(mode, seeded(1))
    density = target.log_prob(draws.values)
    used = leaves if rank else leaves[:2]
    for gradient in torch.autograd.grad(elbo(draws, density, "stl"), used, retain_graph=True):
        assert gradient.abs().max() < 1e-11
    (noisy,) = torch.autograd.grad(elbo(draws, density, "sampled"), used[1:2])
    assert noisy.abs().max() > 0.1


@pytest.mark.parametrize("mode", MODES)
def test_the_mean_of_minus_ln_q_is_the_entropy(mode):
    q = random_normal(2)
    draws = q.draw(mode, seeded(3), pairs=4000)
    per_draw = draws.neg_log_q.reshape(4000, -1).mean(1)
    assert abs(per_draw.mean() - q.entropy()) < 3 * per_draw.std() / math.sqrt(4000)


@pytest.mark.parametrize("mode", MODES)
def test_every_coupled_sample_has_the_law_of_the_family(mode):
    q, pairs = random_normal(2, dim=4), 100_000
    values = q.draw(mode, seeded(5), pairs=pairs).values.reshape(pairs, -1, 4)
    assert values.shape[1] == samples_per_draw(mode, 2)
    spread = q.covariance()
    error = torch.sqrt((spread.square() + spread.diagonal()[:, None] * spread.diagonal()) / pairs)
    for index in range(values.shape[1]):
        mean, covariance = values[:, index].mean(0), values[:, index].T.cov()
        assert ((mean - q.mean).abs() < 4.5 * (spread.diagonal() / pairs).sqrt()).all()
        assert ((covariance - spread).abs() < 4.5 * error).all()


def test_unscented_rows_are_orthogonal_and_of_chi_square_length():
    noise = draw_noise("unscented", 20_000, (5,), 3, torch.zeros((), dtype=F64), seeded())
    rows = noise.shared[:, :3]
    gram = rows @ rows.mT
    squares = gram.diagonal(dim1=-2, dim2=-1)
    torch.testing.assert_close(gram, torch.diag_embed(squares), rtol=0, atol=1e-10)
    assert (squares - squares[:, :1]).abs().max() < 1e-10
    assert float(squares.mean()) == pytest.approx(3, abs=4 * math.sqrt(6 / 20_000))
    assert float(squares[:, 0].var()) == pytest.approx(6, rel=0.1)


def test_paired_and_exhaustive_signs():
    noise = draw_noise("exhaustive", 1, (4,), 3, torch.zeros((), dtype=F64), seeded())
    assert noise.count == 16
    assert len({tuple(row.sign().tolist()) for row in noise.shared[0]}) == 8
    q = random_normal(2)
    values = q.draw("paired", seeded(), pairs=3).values.reshape(3, 2, 6)
    torch.testing.assert_close(values.mean(1), q.mean.expand(3, 6))


def test_the_shared_noise_couples_the_tensors():
    """Cov(first three entries, last two) = V_a V_bᵀ."""
    q, count = random_normal(2, dim=5), 200_000
    values = q.sample(count, seeded(2)) - q.mean
    found = values[:, :3].T @ values[:, 3:] / count
    known = q.factor[:, :3].T @ q.factor[:, 3:]
    variances = q.variance()
    error = ((known.square() + variances[:3, None] * variances[3:]) / count).sqrt()
    assert ((found - known).abs() < 4.5 * error).all()


@pytest.mark.parametrize(("rank", "other"), [(0, 0), (2, 0), (0, 3), (3, 2), (5, 5)])
def test_kl_of_two_structured_normals(rank, other):
    q, p = random_normal(rank, batch=(3,), seed=1), random_normal(other, batch=(3,), seed=2)
    torch.testing.assert_close(kl(q, p), kl_divergence(reference(q), reference(p)), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(kl(q, q), torch.zeros(3, dtype=F64), rtol=0, atol=1e-10)


def test_the_diagonal_family_is_a_product():
    q = random_normal(0)
    mean_field = diagonal(q.location, q.log_std)
    x = torch.randn(10, 6, generator=seeded(), dtype=F64)
    torch.testing.assert_close(
        mean_field.log_prob(x), Normal(q.location, q.log_std.exp()).log_prob(x).sum(-1)
    )
    assert mean_field.draw("unscented", seeded()).values.shape == (2, 6)


@pytest.mark.parametrize("mode", MODES)
def test_the_full_normal_agrees_with_torch(mode):
    lower = torch.randn(3, 5, 5, generator=seeded(), dtype=F64).tril()
    lower.diagonal(dim1=-2, dim2=-1).abs_().add_(0.5)
    q = FullNormal(torch.randn(3, 5, generator=seeded(1), dtype=F64), lower)
    oracle = MultivariateNormal(q.location, scale_tril=lower)
    draws = q.draw(mode, seeded(2), pairs=3)
    torch.testing.assert_close(draws.neg_log_q, -oracle.log_prob(draws.values))
    torch.testing.assert_close(q.log_prob(draws.values), oracle.log_prob(draws.values))
    torch.testing.assert_close(q.entropy(), oracle.entropy())
    torch.testing.assert_close(q.covariance(), oracle.covariance_matrix)
    prior = Normal(torch.zeros((), dtype=F64), torch.tensor(2.0, dtype=F64))
    expected = q.expected_normal(prior.loc, prior.scale)
    wide = MultivariateNormal(torch.zeros(3, 5, dtype=F64), 4 * torch.eye(5, dtype=F64).expand(3, 5, 5))
    torch.testing.assert_close(-expected - q.entropy(), kl_divergence(oracle, wide))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="rank is 4, larger than the 3 parameters"):
        random_normal(4, dim=3)
    with pytest.raises(ConfigError, match="do not fit"):
        LowRankNormal(torch.zeros(3), torch.zeros(3), torch.zeros(1, 2))
    with pytest.raises(ConfigError, match=r"unscented \(4 × rank samples\)"):
        samples_per_draw("exhaustive", 12)
    with pytest.raises(ConfigError, match="choose single, paired, unscented or exhaustive"):
        samples_per_draw("both", 1)
    with pytest.raises(ConfigError, match="at least one"):
        random_normal(1).draw("paired", seeded(), pairs=0)
