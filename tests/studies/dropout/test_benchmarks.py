"""Benchmarks A to D: every method beside the truth, with the answers that are known."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch

from medreg.errors import CompositionError, ConfigError
from medreg.studies.dropout.engine_method import BestStructured, Variational
from medreg.studies.dropout.linear_methods import Exact, Laplace, LinearDropout
from medreg.studies.dropout.measures import Bench, make_problem, modes
from medreg.studies.dropout.problems import Bumps, GaussianMean, Line, Network
from medreg.studies.dropout.trained_methods import Ensemble, Hamiltonian, NetworkDropout, NetworkLaplace

HERE = "medreg.studies.dropout"
EXACT = {"_target_": f"{HERE}.linear_methods.Exact"}


def sd(fitted, problem):
    return fitted.predict(problem.looked_at).variance.sqrt()


@pytest.fixture(scope="module")
def bumps():
    return Bumps(test=50).make(2)


def test_the_worked_example_is_the_first_data_set_of_the_line():
    problem = Line().make(3)
    assert problem.sets[0].targets.tolist() == [1.0, 2.0, 2.0]
    exact, dropout = Exact().fit(problem, 1)[0], LinearDropout(0.5).fit(problem, 1)[0]
    at = torch.tensor([3.0], dtype=torch.float64)
    assert exact.predict(at).epistemic_variance.item() == pytest.approx(0.511628, abs=1e-6)
    assert dropout.predict(at).epistemic_variance.item() == pytest.approx(1.867427, abs=1e-6)
    gaps = [found.gap for found in Laplace("diagonal").fit(problem, 1)]
    assert gaps == pytest.approx([0.374830] * 3, abs=1e-6)  # the gap does not depend on the targets


def test_engine_on_the_worked_example():
    """Mean-field reaches its closed-form gap, rank 1 the posterior; both follow targets ten times as large."""
    problem = Line(test=10).make(2)
    field = Variational("diagonal", steps=400).fit(problem, 1)
    assert [one.gap for one in field] == pytest.approx([0.374830] * 2, abs=0.005)
    at = torch.tensor([3.0], dtype=torch.float64)
    for scaled in (problem, problem.scaled(10)):  # check 22
        one = Variational(rank=1, steps=400).fit(scaled, 1)[0]
        assert one.predict(at).epistemic_variance.item() == pytest.approx(0.511628, rel=0.04)


@pytest.mark.parametrize(("probability", "few"), [(0.1, 3), (0.3, 7), (0.5, 8)])
def test_dropout_has_modes_on_the_bumps_where_the_truth_has_one(bumps, probability, few):
    """Check 25: 5, 9 and 9 modes were seen on another draw of the data."""
    found = LinearDropout(probability).fit(bumps, 1)
    assert min(modes(one, bumps) for one in found) >= few
    assert [modes(one, bumps) for one in Exact().fit(bumps, 1)] == [1, 1]
    at_data = [one.density(2.0) for one in found]
    assert all(
        float(torch.trapezoid(density, grid)) == pytest.approx(1, abs=1e-3) for grid, density in at_data
    )


def test_dropout_is_too_wide_on_data_and_its_width_in_the_gap_is_set_by_p(bumps):
    exact = sd(Exact().fit(bumps, 1)[0], bumps)
    narrow, wide = (sd(LinearDropout(p).fit(bumps, 1)[0], bumps) for p in (0.1, 0.5))
    assert 1.5 < narrow[0] / exact[0] < 2.2  # x = −2: 1.7 to 2.6 times too wide
    assert 2.2 < wide[0] / exact[0] < 3.2
    assert wide[3] > 1.7 * narrow[3]  # x = 0


def test_the_gap_falls_with_the_rank_of_the_best_normal():
    """Between mean-field and the truth; one mode at every rank."""
    problem = Bumps(bumps=6, width=1.2, test=5).make(1)
    exact = sd(Exact().fit(problem, 1)[0], problem)
    field = Laplace("diagonal").fit(problem, 1)[0]
    one, full = (BestStructured(rank, starts=2, steps=100).fit(problem, 1)[0] for rank in (1, 5))
    assert field.gap > one.gap + 0.5 > full.gap + 0.5
    assert full.gap < 1e-4
    assert float((sd(full, problem) / exact - 1).abs().max()) < 1e-2
    assert modes(full, problem) == modes(one, problem) == 1


@pytest.mark.slow
def test_engine_reaches_the_true_predictive_sd_on_the_bumps(bumps):
    """What the study claims: within 15 % of the truth at the six points, with one mode."""
    exact = Exact().fit(bumps, 1)
    found = Variational(rank=19, steps=3000).fit(bumps, 1)
    for one, true in zip(found, exact, strict=True):
        assert float((sd(one, bumps) / sd(true, bumps) - 1).abs().max()) < 0.15
        assert modes(one, bumps) == 1


def test_a_mixture_of_normals_predicts_in_closed_form(bumps):
    found = Variational("mixture", rank=1, components=3, steps=5).fit(bumps, 1)[0]
    predictive = found.predict(bumps.looked_at)
    assert predictive.means.shape == (3, 6)
    assert float(predictive.shares.sum()) == pytest.approx(1.0)
    assert found.gap > 0


def test_ensemble_members_with_the_decay_of_the_prior_become_one():
    """The MAP of a linear model is one point, so that nothing is left of the ensemble's spread."""
    problem = Line(test=10).make(1)
    found = Ensemble(members=4, steps=1500).fit(problem, 1)[0]
    predictive = found.predict(problem.looked_at)
    exact = Exact().fit(problem, 1)[0].predict(problem.looked_at)
    assert float(predictive.epistemic_variance.max()) < 1e-6
    torch.testing.assert_close(predictive.mean, exact.mean, atol=1e-3, rtol=0)


def test_network_methods_answer_for_every_data_set():
    problem = Network(hidden=6, count=8, test=5).make(2)
    methods = (
        NetworkDropout(0.2, steps=3, draws=7), NetworkLaplace(steps=3), NetworkLaplace(steps=3, last_layer=True),
        Ensemble(members=2, steps=3), Variational(rank=1, steps=3, warm=2, draws=9),
        Hamiltonian(chains=2, samples=4, warm_up=2, thin=1, most=3, warm=2),
    )  # fmt: skip
    for method in methods:
        found = method.fit(problem, 1)
        assert len(found) == 2
        assert all(bool(torch.isfinite(sd(one, problem)).all()) for one in found)
        again = method.fit(problem, 1)
        assert torch.equal(sd(found[0], problem), sd(again[0], problem)), "the same seed, the same answer"


def test_the_laplace_of_the_last_layer_is_linear_regression_on_the_features():
    problem = Network(hidden=6, count=8, test=5).make(1)
    last = NetworkLaplace(steps=50, last_layer=True).fit(problem, 1)[0]
    whole = NetworkLaplace(steps=50).fit(problem, 1)[0]
    assert (sd(last, problem) <= sd(whole, problem) + 1e-9).all()


def test_the_gradient_of_a_network_without_mask_is_that_of_a_mask_of_ones():
    problem = Network(hidden=4, count=5, test=5).make(2)
    parameters = problem.prior_draws(6, torch.Generator().manual_seed(1)).reshape(3, 2, -1)
    plain = problem.function(parameters, problem.inputs)
    assert plain.shape == (3, 2, 5)
    ones = problem.masked(parameters, problem.inputs, torch.ones(3, 2, 4, dtype=torch.float64))
    torch.testing.assert_close(plain, ones)
    assert problem.log_joint(parameters).shape == (3, 2)


def test_the_joint_density_is_that_of_the_closed_form():
    problem = Line().make(3)
    weights = torch.randn(5, 3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ours = problem.log_joint(weights)
    theirs = torch.stack([m.log_joint(weights[:, k]) for k, m in enumerate(problem.models)], dim=1)
    torch.testing.assert_close(ours, theirs)


def test_a_bench_measures_case_by_case():
    bench = Bench({"_target_": f"{HERE}.problems.Line", "test": 20}, EXACT, 2, seed=1)
    node = {"_target_": f"{HERE}.linear_methods.LinearDropout", "probability": 0.5}
    found = pd.DataFrame(
        bench.measure(bench.fit(node, 1), bench.fit_large(node, 1)),
        columns=["case", "structure", "metric", "value", "unit"],
    )
    wide = found[found["structure"] == "all"].pivot(index="metric", columns="case", values="value")
    assert list(wide.columns) == ["set 2", "worked example"]
    assert wide.loc["target_scaling"].tolist() == pytest.approx([100.0] * 2)
    assert wide.loc["mass_at_truth"].tolist() == [0.0, 0.0]
    assert "elbo_gap" not in wide.index, "points have no density, and so no ELBO"
    exact = pd.DataFrame(bench.measure(bench.fit(EXACT, 1)), columns=found.columns)
    ratio = exact[exact["metric"] == "sd_ratio"]["value"]
    assert np.allclose(ratio, 1.0)
    mass = exact[exact["metric"] == "mass_at_truth"]["value"]
    assert (mass > 0).all()
    assert bench.fit(EXACT, 1) is bench.truth()


def test_loss_of_log_density_is_seen_in_the_mean_of_many_test_points():
    """Check 24 by simulation: θ* = 5, p = 0.5."""
    problem = GaussianMean(count=2000, mean=5.0, test=20_000).make(1)
    one = problem.sets[0]
    losses = [
        method.fit(problem, 1)[0].predict(one.test_inputs).log_density(one.test_targets).mean().item()
        for method in (Exact(), LinearDropout(0.5, inverted=False))
    ]
    assert losses[0] - losses[1] == pytest.approx(0.6759, abs=0.02)
    assert losses[0] == pytest.approx(-0.5 * (1 + math.log(2 * math.pi)), abs=0.03)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: Line().make(0), ConfigError, "data_sets is 0"),
        (
            lambda: LinearDropout().fit(Network(hidden=2).make(1), 1),
            CompositionError,
            "closed form of linear",
        ),
        (lambda: NetworkDropout().fit(Line().make(1), 1), CompositionError, "is a method of networks"),
        (lambda: LinearDropout(draws=0).fit(Line().make(1), 1), ConfigError, "draws is 0"),
        (lambda: Ensemble(steps=0).fit(Line().make(1), 1), ConfigError, "steps is 0"),
        (lambda: make_problem(EXACT, 1), ConfigError, "Exact is no benchmark"),
        (
            lambda: Bench({"_target_": f"{HERE}.problems.Line"}, EXACT, 1, seed=1).fit(
                {"_target_": f"{HERE}.problems.Line"}, 1
            ),
            ConfigError,
            "Line is no method",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_a_sentence(call, error, words):
    with pytest.raises(error, match=words):
        call()
