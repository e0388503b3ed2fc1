"""What is measured of a fit, data set by data set, beside the truth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from medreg.config.instantiate import build
from medreg.errors import ConfigError, DataError
from medreg.inference.comparators.predictive import Predictive, count_modes, scores
from medreg.studies.dropout.fitted import Fitted, Method
from medreg.studies.dropout.problems import DTYPE, DataSet, Problem

Measured = tuple[str, str, str, float, str]  # case, structure, metric, value, unit
RADIUS = 1e-6  # of the ball around the truth
FACTOR = 10.0  # by which targets are scaled
GAP = torch.linspace(-1, 1, 41, dtype=DTYPE)  # where benchmarks C and D have no data


def make_problem(node: Mapping[str, Any], data_sets: int) -> Problem:
    """Build a benchmark and draw its data sets.

    Raises:
        ConfigError: the node is no benchmark, or there would be no data set.
    """
    benchmark = build(dict(node))
    if not hasattr(benchmark, "make"):
        raise ConfigError(f"problem: {type(benchmark).__name__} is no benchmark; it has no make().")
    found = benchmark.make(data_sets)
    assert isinstance(found, Problem)
    return found


def fit_method(problem: Problem, node: Mapping[str, Any], seed: int) -> Sequence[Fitted]:
    """Build a method and fit all data sets.

    Raises:
        ConfigError: the node is no method.
    """
    method = build(dict(node))
    if not isinstance(method, Method):
        raise ConfigError(f"method: {type(method).__name__} is no method of medreg.studies.dropout.")
    return method.fit(problem, seed)


class Bench:
    """A benchmark with its truth, which is fitted once however many methods are compared with it.

    Args:
        problem: node of the benchmark.
        truth: node of the method whose predictive distribution is right.
        data_sets: number of data sets.
        seed: of the truth, where it is sampled.
    """

    def __init__(
        self, problem: Mapping[str, Any], truth: Mapping[str, Any], data_sets: int, *, seed: int
    ) -> None:
        self.problem = make_problem(problem, data_sets)
        self.truth_node, self.truth_seed = dict(truth), seed
        self._truth: Sequence[Fitted] | None = None

    def truth(self) -> Sequence[Fitted]:
        """Fits of the truth, made when first asked for."""
        if self._truth is None:
            self._truth = fit_method(self.problem, self.truth_node, self.truth_seed)
        return self._truth

    def fit(self, node: Mapping[str, Any], seed: int) -> Sequence[Fitted]:
        """Fits of a method; those of the truth are not made twice."""
        same = dict(node) == self.truth_node and seed == self.truth_seed
        return self.truth() if same else fit_method(self.problem, node, seed)

    def fit_large(self, node: Mapping[str, Any], seed: int) -> Sequence[Fitted]:
        """Fits of a method on targets ten times as large."""
        return fit_method(self.problem.scaled(FACTOR), node, seed)

    def measure(self, found: Sequence[Fitted], large: Sequence[Fitted] | None = None) -> list[Measured]:
        """Measure the fits of a method on every data set.

        Args:
            found: by `fit`.
            large: of the same method by `fit_large`; says what large targets do to the epistemic variance.

        Raises:
            DataError: a prediction that is not finite.
        """
        rows: list[Measured] = []
        tens: Sequence[Fitted | None] = large or [None] * len(found)
        for one, fitted, true, ten in zip(self.problem.sets, found, self.truth(), tens, strict=True):
            rows += [(one.name, *rest) for rest in self._of_set(one, fitted, true, ten)]
        return rows

    def _of_set(
        self, one: DataSet, fitted: Fitted, true: Fitted, ten: Fitted | None
    ) -> Iterator[tuple[str, str, float, str]]:
        problem = self.problem
        here, there = fitted.predict(problem.looked_at), true.predict(problem.looked_at)
        if not torch.isfinite(here.variance).all():
            raise DataError(
                f"{one.name}: the predictive variance is not finite; train longer or more slowly."
            )
        sd, ratio = here.variance.sqrt(), (here.variance / there.variance).sqrt()
        for place, value, share in zip(problem.points, sd.tolist(), ratio.tolist(), strict=True):
            yield f"x = {place:g}", "predictive_sd", value, "1"
            yield f"x = {place:g}", "sd_ratio", share, "1"
        yield "all", "sd_error", (ratio - 1).abs().max().item(), "1"
        yield "all", "gap_sd", fitted.predict(GAP).variance.sqrt().mean().item(), "1"
        centre = torch.tensor([problem.centre], dtype=DTYPE)
        at_centre = fitted.predict(centre)
        yield "all", "epistemic_variance", at_centre.epistemic_variance.item(), "1"
        yield "all", "predictive_variance", at_centre.variance.item(), "1"
        yield "all", "modes", float(modes(fitted, problem)), "1"
        for name, score in scores(fitted.predict(one.test_inputs), one.test_targets).items():
            yield "all", name, score, "nats" if name == "log_density" else "1"
        yield from self._optional(one, fitted, at_centre, ten)

    def _optional(
        self, one: DataSet, fitted: Fitted, at_centre: Predictive, ten: Fitted | None
    ) -> Iterator[tuple[str, str, float, str]]:
        if fitted.gap is not None:
            yield "all", "elbo_gap", fitted.gap, "nats"
        if fitted.mass is not None and one.truth is not None:
            yield "all", "mass_at_truth", fitted.mass(one.truth, RADIUS), "1"
        if ten is not None:
            after = ten.predict(torch.tensor([self.problem.centre], dtype=DTYPE)).epistemic_variance.item()
            yield "all", "target_scaling", after / at_centre.epistemic_variance.item(), "1"
        for name, value in fitted.facts:
            yield "all", name, value, "1"


def modes(fitted: Fitted, problem: Problem) -> int:
    """Number of modes of the predictive density at the centre of a problem."""
    _, density = fitted.density(problem.centre)
    return count_modes(density.clamp_min(0), prominence=problem.prominence)
