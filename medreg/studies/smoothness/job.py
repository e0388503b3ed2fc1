"""Search λ on the cases of a run, group by group, and write what was found after each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from medreg.config.instantiate import build
from medreg.config.settings import read_settings
from medreg.errors import ConfigError, DataError, MedregError, NumericalError, require_choice
from medreg.io.digest import digest_of
from medreg.models.chosen_smoothness import require_conditional, require_maps
from medreg.models.conditional import ConditionalModel, Regions
from medreg.runs.trained import TrainedRun
from medreg.studies.smoothness.methods import SearchMethod, Trace
from medreg.studies.smoothness.objectives import OBJECTIVES
from medreg.studies.smoothness.problem import Batch, Effort, Problem
from medreg.studies.smoothness.result import FOLDER, GroupResult, SearchResult
from medreg.studies.smoothness.run_cases import Cases, regions_of
from medreg.study.job import Tell, run_units
from medreg.study.store import Store
from medreg.study.unit import Outcome, Unit

SCOPES = ("dataset", "group", "pair")


@dataclass(frozen=True)
class SearchPlan:
    """What is searched, and how.

    Attributes:
        method: option of configs/smoothness, or a YAML file.
        objective: see `objectives.OBJECTIVES`.
        by_region: one λ for each region of training instead of one for everything.
        scope: "dataset" shares λ among all cases, "group" among `group_size` consecutive ones, "pair" among none.
        group_size: of "group"; 5 in the released code.
        overrides: changes to the method, such as `learning_rate=0.1`.
    """

    method: str
    objective: str
    by_region: bool
    scope: str
    group_size: int
    overrides: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, known in (("scope", SCOPES), ("objective", tuple(OBJECTIVES))):
            require_choice(f"--{name}", getattr(self, name), known)
        if self.group_size < 1:
            raise ConfigError(f"--group-size is {self.group_size}; give 1 or more.")

    @property
    def name(self) -> str:
        """Name of the files of its result."""
        kind = "regions" if self.by_region else "scalar"
        return f"{Path(self.method).stem}_{self.objective}_{kind}_{self.scope}"


def load_method(name: str, overrides: Sequence[str] = ()) -> tuple[SearchMethod, dict[str, Any]]:
    """Read and build a method of configs/smoothness or of a YAML file, with its settings.

    Raises:
        ConfigError: an unknown method or key; the nearest names are given.
    """
    file, plain = read_settings("smoothness", name, overrides, kind="method")
    method = build(plain)
    if not isinstance(method, SearchMethod):
        raise ConfigError(f"{file} builds a {type(method).__name__}, which is no method of a search.")
    return method, plain


def search(
    run: TrainedRun,
    cases: Cases,
    plan: SearchPlan,
    *,
    retry: bool = False,
    again: bool = False,
    tell: Tell | None = None,
) -> tuple[SearchResult, Path]:
    """Search λ group by group and write the result into the run folder; what was searched before is read.

    A case that cannot be measured at the start is left out of its group; a group that fails later keeps its best λ.

    Args:
        run: of a conditional model.
        cases: usually those of validation.
        plan: what and how.
        retry: search groups again of which no case could be measured.
        again: search all groups again.
        tell: told after every group.

    Raises:
        CompositionError: the model takes no λ, or regions are asked for and it takes one number only.
        DataError: regions are asked for and cases have no labels, or no case could be measured.
    """
    work = _Work(run, cases, plan)
    store = Store(run.folder / FOLDER / "search.jsonl")
    planned = list(work.units())
    units, groups = [unit for unit, _ in planned], {unit.id: group for unit, group in planned}
    try:
        run_units(units, lambda unit: work(unit, groups[unit.id]), store, retry=retry, again=again, tell=tell)
    finally:
        found = [outcome for unit in units if (outcome := store.get(unit)) is not None]
        result = work.result(found)
        file = run.folder / FOLDER / f"{plan.name}.yaml"
        if result.groups:
            file = result.save(run.folder / FOLDER, plan.name)
    if not result.groups:
        reasons = "; ".join(f"{case}: {reason}" for case, reason in list(result.failed.items())[:3])
        raise DataError(f"None of the {cases.split} cases of {run.path} could be measured ({reasons}).")
    return result, file


class _Work:
    """Searches λ for one group of cases after the other."""

    def __init__(self, run: TrainedRun, cases: Cases, plan: SearchPlan) -> None:
        self.run, self.cases, self.plan = run, cases, plan
        self.model = require_conditional(run.model)
        self.method, self.settings = load_method(plan.method, plan.overrides)
        self.regions = _regions(run, cases, self.model) if plan.by_region else None
        self.objective = OBJECTIVES[plan.objective](cases.codes)

    def units(self) -> Iterator[tuple[Unit, Sequence[Batch]]]:
        """Yield a unit and its cases for every group."""
        batches = self.cases.batches
        size = {"dataset": len(batches), "group": self.plan.group_size, "pair": 1}[self.plan.scope]
        groups = None if self.regions is None else self.regions.groups
        for first in range(0, len(batches), max(size, 1)):
            group = batches[first : first + size]
            names = [str(batch["case"][0]) for batch in group]
            decisive = [self.run.key, self.settings, self.cases.codes, groups]
            digest = digest_of(decisive, [self.cases.digests[name] for name in names])
            yield Unit({"search": self.plan.name, "cases": names}, digest), group

    def __call__(self, unit: Unit, group: Sequence[Batch]) -> Outcome:
        """Search λ of a group: a row for every λ that was tried, and for every case that was left out."""
        good, left_out, effort = [], [], Effort()
        for case in group:
            alone = self._problem([case])
            try:
                alone.value(self.method.start(alone))
            except MedregError as error:
                left_out.append({"left_out": case["case"][0], "why": str(error)})
            else:
                good.append(case)
            effort.add(alone.effort)
        if not good:
            return Outcome(
                unit.key, unit.digest, left_out, "failed", "no case could be measured", asdict(effort)
            )
        problem, trace, stopped = self._problem(good), Trace(), ""
        problem.effort.add(effort)
        try:
            self.method.minimise(problem, trace)
        except NumericalError as error:
            stopped = str(error)
        rows = [*map(asdict, trace.points), *left_out]
        return Outcome(unit.key, unit.digest, rows, error=stopped, cost=asdict(problem.effort))

    def result(self, outcomes: Sequence[Outcome]) -> SearchResult:
        """Put the groups together."""
        plan = self.plan
        told = {
            "run": self.run.name,
            "split": self.cases.split,
            "objective": plan.objective,
            "scope": plan.scope,
        }
        told |= {"group_size": str(plan.group_size)} if plan.scope == "group" else {}
        rows = [row for outcome in outcomes for row in outcome.rows if "left_out" in row]
        failed = dict.fromkeys(self.cases.left_out, "could not be read")
        failed |= {row["left_out"]: row["why"] for row in rows}
        groups = tuple(GroupResult.of(outcome) for outcome in outcomes if not outcome.failed)
        return SearchResult({**told, "method": self.settings}, self.regions, groups, failed)

    def _problem(self, cases: Sequence[Batch]) -> Problem:
        return Problem(
            self.model, cases, objective=self.objective, regions=self.regions, use_masks=self.run.use_masks
        )


def _regions(run: TrainedRun, cases: Cases, model: ConditionalModel) -> Regions:
    require_maps(model)
    lacking = [batch["case"][0] for batch in cases.batches if "fixed_label" not in batch]
    if lacking:
        raise DataError(
            f"{', '.join(lacking[:3])}: no label map of the fixed image, so its regions are unknown; leave out "
            "--regions to search one λ."
        )
    return regions_of(run, cases.codes)
