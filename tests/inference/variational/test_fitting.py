"""Fits: resumption, several problems at once, energies with gradients of their own, and bad input."""

from __future__ import annotations

import math
import time

import pytest
import torch

from medreg.errors import ConfigError, NumericalError
from medreg.inference.variational.analytic import GaussianTarget
from medreg.inference.variational.families import Diagonal, Full, Mixture, Structured
from medreg.inference.variational.fit import fit
from medreg.inference.variational.fitting import Fitting

F64 = torch.float64


def quadratic(x: torch.Tensor) -> torch.Tensor:
    return -0.5 * (x - 1).square().sum(-1) - 0.4 * (x[..., 0] - x[..., 1]).square()


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize(
    "options",
    [
        {"family": "diagonal"},
        {"family": "structured", "rank": 2, "mode": "unscented"},
        {"family": "structured", "rank": 2, "mode": "exhaustive", "estimator": "closed"},
        {"family": "mixture", "components": 3},
        {"family": "full", "mode": "single", "estimator": "sampled"},
        {"family": "structured", "batch": 3},
    ],
)
def test_a_fit_that_was_stopped_ends_as_one_that_was_not(options):
    kept = {}

    def stop(fitting: Fitting, bound: torch.Tensor) -> None:
        if fitting.iteration == 13:
            kept.update(fitting.state())
            raise Killed

    whole = fit(quadratic, 3, steps=30, **options)
    with pytest.raises(Killed):
        fit(quadratic, 3, steps=30, callback=stop, **options)
    resumed = fit(quadratic, 3, steps=30, state=kept, **options)
    assert torch.equal(whole.history, resumed.history)
    assert torch.equal(whole.mean, resumed.mean)
    assert torch.equal(whole.covariance(), resumed.covariance())
    assert torch.equal(whole.elbo, resumed.elbo)
    assert torch.equal(whole.sample(5), resumed.sample(5))


def test_the_seed_decides_everything():
    one, same, other = (fit(quadratic, 3, steps=20, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.history, same.history)
    assert not torch.equal(one.history, other.history)
    torch.manual_seed(0)  # and the global generator nothing
    before = torch.get_rng_state()
    fit(quadratic, 3, steps=2)
    assert torch.equal(before, torch.get_rng_state())


def test_problems_side_by_side_are_independent():
    centres = torch.tensor([[0.0, 0.0], [5.0, -3.0], [100.0, 1.0]], dtype=F64)
    stretch = torch.tensor([1.0, 4.0, 0.25], dtype=F64)

    def several(x: torch.Tensor) -> torch.Tensor:
        return -0.5 * stretch * (x - centres).square().sum(-1)

    q = fit(several, 2, "structured", rank=1, batch=3, start=centres + 1, steps=1500)
    torch.testing.assert_close(q.mean, centres, rtol=0, atol=1e-5)
    torch.testing.assert_close(q.variance(), (1 / stretch).unsqueeze(-1).expand(3, 2), rtol=1e-3, atol=0)
    torch.testing.assert_close(q.elbo, torch.log(2 * math.pi / stretch), rtol=1e-4, atol=1e-4)
    assert q.sample(7).shape == (7, 3, 2)
    assert q.history.shape == (1500, 3)

    def changed(x: torch.Tensor) -> torch.Tensor:
        return several(x) * torch.tensor([1.0, 1.0, 2.0], dtype=F64)

    p = fit(changed, 2, "structured", rank=1, batch=3, start=centres + 1, steps=30)
    q = fit(several, 2, "structured", rank=1, batch=3, start=centres + 1, steps=30)
    torch.testing.assert_close(p.mean[:2], q.mean[:2], rtol=0, atol=1e-12)
    assert not torch.allclose(p.variance()[2], q.variance()[2])


@pytest.mark.parametrize("family", ["diagonal", "structured", "direct", "mixture", "full"])
@pytest.mark.parametrize("estimator", ["closed", "sampled", "stl"])
def test_an_energy_may_bring_its_own_gradient(family, estimator):
    if family == "mixture" and estimator == "closed":
        return

    def make() -> Fitting:
        families = {
            "diagonal": lambda: Diagonal(3, dtype=F64),
            "structured": lambda: Structured(3, 2, dtype=F64),
            "direct": lambda: Structured(3, 2, parametrisation="direct", dtype=F64),
            "mixture": lambda: Mixture(3, 1, 2, dtype=F64),
            "full": lambda: Full(3, dtype=F64),
        }
        chosen = families[family]()
        generator = torch.Generator().manual_seed(5)
        chosen.initialise(lambda shape: torch.randn(*shape, 3, generator=generator, dtype=F64))
        return Fitting(chosen, steps=20, lr=0.05, estimator=estimator, pairs=2)

    graph, given = make(), make()
    for _ in range(20):
        graph.step(quadratic)
        draws = given.draw()
        values = draws.values.detach().requires_grad_()
        density = quadratic(values)
        (gradient,) = torch.autograd.grad(density.sum(), values)
        given.update(draws, density, gradient)
    for one, other in zip(graph.family.parameters(), given.family.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_the_schedules():
    family = Diagonal(2)

    def rates(schedule: str) -> list[float]:
        fitting, found = Fitting(family, steps=4, lr=0.1, schedule=schedule), []
        for _ in range(4):
            found.append(fitting.rate())
            fitting.history.append(torch.zeros(()))
        return found

    assert rates("constant") == [0.1] * 4
    assert rates("inverse") == pytest.approx([0.1 / (1 + 0.001 * t) for t in range(4)])
    assert rates("cosine") == pytest.approx([0.05 * (1 + math.cos(math.pi * t / 4)) for t in range(4)])


def test_a_density_in_the_middle_of_nowhere_is_named():
    calls = []

    def breaks(x: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return quadratic(x) * (math.nan if len(calls) == 7 else 1.0)

    with pytest.raises(NumericalError, match="The log density is not finite at step 7 of 20"):
        fit(breaks, 3, steps=20)


def test_the_problem_that_fails_is_named():
    def second(x: torch.Tensor) -> torch.Tensor:
        return quadratic(x) + torch.tensor([0.0, math.inf])

    with pytest.raises(NumericalError, match="of problem 1 is not finite at step 1"):
        fit(second, 3, batch=2)


def test_a_gradient_that_is_not_finite_changes_nothing():
    def steep(x: torch.Tensor) -> torch.Tensor:
        return (0 * x).sqrt().sum(-1) + quadratic(x)  # finite, with the derivative of √0

    family = Diagonal(3, dtype=F64)
    fitting = Fitting(family, steps=5, lr=0.1)
    with pytest.raises(NumericalError, match="The gradient of the log density is not finite at step 1 of 5"):
        fitting.step(steep)
    assert not family.location.any()
    assert fitting.iteration == 0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"rank": 4}, "rank is 4; with 3 parameters it is between 0 and 3"),
        ({"rank": -1}, "rank is -1"),
        ({"family": "mixture", "rank": 5}, "rank is 5"),
        ({"family": "diagonal", "rank": 1}, "family=diagonal has no rank"),
        ({"family": "mixture", "components": 0}, "components is 0; give a whole number of at least 1"),
        ({"components": 2}, "take family=mixture"),
        ({"family": "normal"}, "family is 'normal'; choose diagonal, structured, mixture or full"),
        ({"steps": 0}, "steps is 0; give a whole number of at least 1"),
        ({"steps": math.nan}, "steps is nan"),
        ({"rank": 1.5}, "rank is 1.5; give a whole number"),
        ({"pairs": 0}, "pairs is 0"),
        ({"pairs": 1.5}, "pairs is 1.5"),
        ({"seed": "a"}, "seed is 'a'"),
        ({"betas": (0.9,)}, r"betas is \[0.9\]; give two numbers"),
        ({"betas": (0.9, 1.0)}, "betas is"),
        ({"elbo_samples": 0}, "elbo_samples is 0"),
        ({"lr": 0.0}, "lr is 0.0; give a finite number above 0"),
        ({"lr": math.nan}, "lr is nan"),
        ({"lr": math.inf}, "lr is inf"),
        ({"mode": "both"}, "mode is 'both'"),
        ({"schedule": "step"}, "schedule is 'step'"),
        ({"estimator": "best"}, "estimator is 'best'; choose closed, sampled or stl"),
        ({"batch": 0}, "batch is 0"),
        ({"scale": 0.0}, "scale is 0.0"),
        ({"scale": math.inf}, "scale is inf"),
        ({"start": torch.zeros(2)}, r"start has shape \(2,\); expected \(3,\)"),
        ({"state": {"family": {}}}, "does not fit this family"),
    ],
)
def test_bad_options_are_refused_in_a_sentence(options, sentence):
    called = []

    def density(x: torch.Tensor) -> torch.Tensor:
        called.append(1)
        return quadratic(x)

    with pytest.raises(ConfigError, match=sentence):
        fit(density, 3, **options)
    assert not called


def test_other_bad_input():
    with pytest.raises(ConfigError, match="dim is 0"):
        fit(quadratic, 0)
    with pytest.raises(ConfigError, match=r"dim is 1\.5"):
        fit(quadratic, 1.5)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="complex"):
        fit(lambda x: quadratic(x) + 0j, 3, steps=1)
    with pytest.raises(ConfigError, match=r"returned \(8, 3\)"):
        fit(lambda x: x, 3, steps=1)
    with pytest.raises(ConfigError, match="without a gradient"):
        fit(lambda x: x.detach().sum(-1), 3, steps=1)
    with pytest.raises(ConfigError, match="1001 parameters"):
        fit(quadratic, 1001, "full", steps=1)
    with pytest.raises(ConfigError, match="number of samples is 0"):
        fit(quadratic, 3, steps=1).sample(0)
    with pytest.raises(ConfigError, match="do not add up"):
        Structured(5, 1, segments=[2, 2])


def test_a_state_of_another_rank_is_refused():
    state = fit(quadratic, 3, rank=1, steps=2).state
    with pytest.raises(ConfigError, match="does not fit this family"):
        fit(quadratic, 3, rank=2, steps=4, state=state)


def test_a_fit_goes_on_from_its_end():
    target = GaussianTarget(torch.ones(3, dtype=F64), torch.eye(3, dtype=F64))
    first = fit(target.log_density, 3, steps=50, schedule="constant")
    longer = fit(target.log_density, 3, steps=80, schedule="constant", state=first.state)
    assert torch.equal(longer.history[:50], first.history)
    assert torch.equal(longer.history, fit(target.log_density, 3, steps=80, schedule="constant").history)


def test_log_prob_of_a_posterior():
    q = fit(quadratic, 3, rank=1, steps=20)
    x = torch.randn(4, 3, dtype=F64)
    known = torch.distributions.MultivariateNormal(q.mean, q.covariance()).log_prob(x)
    torch.testing.assert_close(q.log_prob(x), known)


@pytest.mark.parametrize("family", ["diagonal", "structured", "mixture", "full"])
@pytest.mark.parametrize("batch", [None, 1, 3])
def test_the_shapes_of_a_posterior(family, batch):
    q = fit(quadratic, 3, family, batch=batch, steps=2, elbo_samples=4)
    lead = () if batch is None else (batch,)
    assert q.mean.shape == q.variance().shape == (*lead, 3)
    assert q.covariance().shape == (*lead, 3, 3)
    assert q.sample(4).shape == (4, *lead, 3)
    assert q.log_prob(q.sample(4)).shape == (4, *lead)
    assert q.elbo.shape == q.elbo_error.shape == lead
    assert q.history.shape == (2, *lead)
    assert not torch.equal(q.sample(4), q.sample(4))


def test_single_precision_and_large_entries():
    def wide(x: torch.Tensor) -> torch.Tensor:
        return -0.5 * ((x - 300) / 50).square().sum(-1)

    q = fit(wide, 3, "structured", rank=1, steps=800, lr=5.0, scale=100.0, dtype=torch.float32)
    assert q.mean.dtype == torch.float32
    torch.testing.assert_close(q.mean, torch.full((3,), 300.0), rtol=0, atol=1.0)
    torch.testing.assert_close(q.variance().sqrt(), torch.full((3,), 50.0), rtol=0.02, atol=0)


def test_a_step_costs_little_of_the_processor():
    """Of the notebook's kind: 32 joint samples of rank 8. Processor time, so that neighbours do not matter."""
    fit(quadratic, 8, rank=8, mode="unscented", pairs=1, steps=5, elbo_samples=1)
    before = time.process_time()
    fit(quadratic, 8, rank=8, mode="unscented", pairs=1, steps=200, elbo_samples=1)
    assert (time.process_time() - before) / 200 < 0.005
