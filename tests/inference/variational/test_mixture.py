"""Mixtures of structured normals: density, stratified samples, entropy bounds, gradients of the weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Categorical, LowRankMultivariateNormal, MixtureSameFamily

from medreg.errors import ConfigError
from medreg.inference.variational.estimators import elbo
from medreg.inference.variational.fit import fit
from medreg.inference.variational.mixture import NormalMixture
from medreg.inference.variational.modes import MODES
from medreg.inference.variational.normal import LowRankNormal

F64 = torch.float64
PI = torch.tensor([0.3, 0.7], dtype=F64)
CENTRES = torch.tensor([[-3.0, 0.0], [3.0, 0.0]], dtype=F64)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_mixture(
    components: int, rank: int, dim: int = 4, batch: tuple[int, ...] = (), seed: int = 0
) -> NormalMixture:
    generator = seeded(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*batch, components, *shape, generator=generator, dtype=F64)

    return NormalMixture(LowRankNormal(normal(dim), 0.3 * normal(dim), normal(rank, dim)), normal())


def reference(q: NormalMixture) -> MixtureSameFamily:
    normals = q.normals
    return MixtureSameFamily(
        Categorical(logits=q.logits),
        LowRankMultivariateNormal(normals.location, normals.factor.mT, (2 * normals.log_std).exp()),
    )


def two_bumps(x: torch.Tensor) -> torch.Tensor:
    """0.3·N((−3, 0), 0.25 I) + 0.7·N((3, 0), 0.25 I), normalised."""
    squares = (x.unsqueeze(-2) - CENTRES).square().sum(-1)
    return torch.logsumexp(PI.log() - squares / 0.5 - math.log(2 * math.pi * 0.25), -1)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("batch", [(), (3,)])
def test_density_and_weights_of_stratified_samples(mode, batch):
    q = random_mixture(3, 2, batch=batch)
    draws = q.draw(mode, seeded(1), pairs=2)
    torch.testing.assert_close(draws.neg_log_q, -reference(q).log_prob(draws.values))
    torch.testing.assert_close(draws.weights.sum(0), torch.ones(batch, dtype=F64))
    # The sample index is outermost, the component inside: the third of every three is of the last component.
    torch.testing.assert_close(draws.weights[2::3].sum(0), q.pi[..., 2])
    torch.testing.assert_close(q.mean, reference(q).mean)
    torch.testing.assert_close(q.variance(), reference(q).variance)
    torch.testing.assert_close(q.covariance().diagonal(dim1=-2, dim2=-1), q.variance())


def test_components_share_their_noise():
    q = random_mixture(2, 0)
    values = q.draw("single", seeded(), pairs=5).values.reshape(5, 2, 4)
    white = (values - q.normals.location) * torch.exp(-q.normals.log_std)
    torch.testing.assert_close(white[:, 0], white[:, 1])


def test_independent_samples_have_the_moments():
    q, count = random_mixture(3, 1, dim=3, batch=(2,)), 100_000
    values = q.sample(count, seeded(4))
    error = (q.variance() / count).sqrt()
    assert ((values.mean(0) - q.mean).abs() < 4.5 * error).all()
    for problem in range(2):
        torch.testing.assert_close(values[:, problem].T.cov(), q.covariance()[problem], rtol=0.05, atol=0.05)


def test_responsibilities_are_posterior_probabilities():
    q = random_mixture(3, 1)
    x = torch.randn(5, 4, generator=seeded(), dtype=F64)
    joint = torch.stack([q.log_pi[k] + q.component(k).log_prob(x) for k in range(3)], -1)
    torch.testing.assert_close(q.responsibilities(x), (joint - q.log_prob(x).unsqueeze(-1)).exp())
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(q.log_prob(x).sum(), x)
    pulls = torch.stack(
        [-torch.linalg.solve(q.component(k).covariance(), (x - q.component(k).mean).T).T for k in range(3)],
        -2,
    )
    torch.testing.assert_close(gradient, (q.responsibilities(x).unsqueeze(-1) * pulls).sum(-2))


def test_the_effective_number_counts_what_is_alive():
    q = random_mixture(4, 0)
    even = NormalMixture(q.normals, torch.zeros(4, dtype=F64))
    dead = NormalMixture(q.normals, torch.tensor([0.0, 0.0, -60.0, -60.0], dtype=F64))
    assert float(even.effective_number()) == pytest.approx(4)
    assert float(dead.effective_number()) == pytest.approx(2)


@pytest.mark.parametrize("seed", range(6))
def test_the_bounds_bracket_the_entropy(seed):
    q = random_mixture(1 + seed % 4, seed % 3, dim=3, seed=seed)
    lower, upper = q.entropy_bounds()
    draws = q.draw("paired", seeded(seed), pairs=20_000)
    count = len(q.pi)
    sampled = (draws.weights * draws.neg_log_q).reshape(20_000, 2 * count).sum(1) * 20_000
    error = 4 * sampled.std() / math.sqrt(20_000)
    assert lower - error <= sampled.mean() <= upper + error
    if count == 1:
        assert float(lower) == pytest.approx(float(upper))
        assert float(lower) == pytest.approx(float(q.normals.entropy()))
    else:
        assert lower < upper


def test_bounds_where_two_components_have_more_directions_than_entries():
    q = random_mixture(2, 2, dim=2)
    lower, upper = q.entropy_bounds()
    assert lower <= upper


def test_the_prior_is_expected_in_closed_form():
    q = random_mixture(2, 1)
    location, scale = torch.zeros(4, dtype=F64), torch.full((4,), 1.5, dtype=F64)
    draws = q.draw("paired", seeded(), pairs=50_000)
    sampled = torch.distributions.Normal(location, scale).log_prob(draws.values).sum(-1)
    assert float((draws.weights * sampled).sum()) == pytest.approx(
        float(q.expected_normal(location, scale)), rel=0.01
    )


@pytest.mark.parametrize("estimator", ["sampled", "stl"])
def test_the_gradient_of_the_weights_has_the_known_form(estimator):
    """∂ELBO/∂α_k = π_k (ℓ_k − Σ_j π_j ℓ_j), ℓ_k = E_{q_k}[ln p − ln q]."""
    q = random_mixture(3, 1, dim=2)
    logits = q.logits.clone().requires_grad_()
    q = NormalMixture(q.normals, logits)
    draws = q.draw("paired", seeded(2), pairs=50_000)
    density = two_bumps(draws.values)
    (gradient,) = torch.autograd.grad(elbo(draws, density, estimator), logits, retain_graph=True)
    ratios = (density + draws.neg_log_q).detach().reshape(-1, 3)
    each, pi = ratios.mean(0), q.pi.detach()
    known = pi * (each - (pi * each).sum())
    tolerance = 1e-9 if estimator == "stl" else 6 * float(ratios.std(0).max()) / math.sqrt(100_000)
    torch.testing.assert_close(gradient, known, rtol=0, atol=tolerance)


@pytest.mark.parametrize(("side", "bound"), [(2.0, -0.3567), (-2.0, -1.2040)])
def test_one_normal_locks_on_one_mode(side, bound):
    q = fit(two_bumps, 2, "structured", rank=1, start=torch.tensor([side, 0.3]), steps=400)
    assert float(q.elbo) == pytest.approx(bound, abs=1e-3)


def test_two_components_find_both_modes():
    start = torch.tensor([[-1.0, 0.0], [1.0, 0.2]])
    q = fit(two_bumps, 2, "mixture", rank=1, components=2, start=start, steps=1000)
    assert float(q.elbo) == pytest.approx(0.0, abs=2e-3)
    torch.testing.assert_close(q.distribution.pi, PI, rtol=0, atol=0.01)
    torch.testing.assert_close(q.mean, (PI.unsqueeze(-1) * CENTRES).sum(0), rtol=0, atol=0.05)


def test_sticking_the_landing_has_no_noise_at_the_posterior():
    normals = LowRankNormal(
        CENTRES.clone().requires_grad_(), torch.full((2, 2), math.log(0.5), dtype=F64).requires_grad_(),
        torch.zeros(2, 1, 2, dtype=F64).requires_grad_(),
    )  # fmt: skip
    logits = PI.log().requires_grad_()
    draws = NormalMixture(normals, logits).draw("single", seeded())
    bound = elbo(draws, two_bumps(draws.values), "stl")
    leaves = (normals.location, normals.log_std, normals.factor, logits)
    for gradient in torch.autograd.grad(bound, leaves):
        assert gradient.abs().max() < 1e-12


def test_a_closed_entropy_is_refused():
    with pytest.raises(ConfigError, match="no closed form"):
        random_mixture(2, 1).entropy()
    with pytest.raises(ConfigError, match="estimator=closed"):
        fit(two_bumps, 2, "mixture", estimator="closed", steps=1)
