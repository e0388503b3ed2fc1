"""Search λ on the cases of a run, group by group, and write what was found after each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medreg.config.instantiate import build
from medreg.config.settings import names_of, read_settings
from medreg.errors import ConfigError, DataError, MedregError, NumericalError
from medreg.models.chosen_weight import require_conditional, require_maps
from medreg.models.conditional import ConditionalModel, Regions
from medreg.runs.trained import TrainedRun
from medreg.studies.smoothness.methods import SearchMethod, Trace
from medreg.studies.smoothness.objectives import OBJECTIVES, SearchObjective
from medreg.studies.smoothness.problem import Batch, Effort, Problem
from medreg.studies.smoothness.result import FOLDER, GroupResult, SearchResult
from medreg.studies.smoothness.run_cases import Cases, regions_of

SCOPES = ("dataset", "group", "pair")
Report = Callable[[str], None]


@dataclass(frozen=True)
class SearchPlan:
    """What is searched, and how.

    Attributes:
        method: option of configs/search, or a YAML file.
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
            if getattr(self, name) not in known:
                raise ConfigError(
                    f"--{name} {getattr(self, name)} is unknown; choose from {', '.join(known)}."
                )
        if self.group_size < 1:
            raise ConfigError(f"--group-size is {self.group_size}; give 1 or more.")

    @property
    def name(self) -> str:
        """Name of the files of its result."""
        kind = "regions" if self.by_region else "scalar"
        return f"{Path(self.method).stem}_{self.objective}_{kind}_{self.scope}"


def method_names() -> list[str]:
    """Return the methods that come with medreg."""
    return names_of("search")


def load_method(name: str, overrides: Sequence[str] = ()) -> tuple[SearchMethod, dict[str, Any]]:
    """Read and build a method of configs/search or of a YAML file, with its settings.

    Raises:
        ConfigError: an unknown method or key; the nearest names are given.
    """
    file, plain = read_settings("search", name, overrides, kind="method")
    method = build(plain)
    if not isinstance(method, SearchMethod):
        raise ConfigError(f"{file} builds a {type(method).__name__}, which is no method of a search.")
    return method, plain


def search(run: TrainedRun, cases: Cases, plan: SearchPlan, *, report: Report) -> tuple[SearchResult, Path]:
    """Search λ, and write the result into `<run>/lambda` after every group.

    A case that cannot be measured at the start is left out of its group; a group that fails later keeps its best λ.

    Args:
        run: of a conditional model.
        cases: usually those of validation.
        plan: what and how.
        report: told in a line what was done.

    Raises:
        CompositionError: the model takes no λ, or regions are asked for and it takes one number only.
        DataError: regions are asked for and cases have no labels, or no case could be measured.
    """
    model = require_conditional(run.model)
    method, settings = load_method(plan.method, plan.overrides)
    regions = _regions(run, cases, model) if plan.by_region else None
    objective = OBJECTIVES[plan.objective](cases.codes)
    failed = dict.fromkeys(cases.left_out, "could not be read")
    told = {"run": run.folder.name, "split": cases.split, "objective": plan.objective, "scope": plan.scope}
    told |= {"group_size": str(plan.group_size)} if plan.scope == "group" else {}
    found: list[GroupResult] = []
    file = run.folder / FOLDER / f"{plan.name}.yaml"
    for group in _groups(cases.batches, plan):
        problem = _measurable(run, model, group, objective, regions, method, failed)
        if problem is None:
            continue
        found.append(_search_group(problem, method))
        result = SearchResult({**told, "method": settings}, regions, tuple(found), failed)
        file = result.save(run.folder / FOLDER, plan.name)
        trace = found[-1].trace
        report(f"{', '.join(found[-1].cases[:3])}: {trace.first.objective:.5f} → {trace.best.objective:.5f}")
    if not found:
        reasons = "; ".join(f"{case}: {reason}" for case, reason in list(failed.items())[:3])
        raise DataError(f"None of the {cases.split} cases of {run.folder} could be measured ({reasons}).")
    return SearchResult({**told, "method": settings}, regions, tuple(found), failed), file


def _regions(run: TrainedRun, cases: Cases, model: ConditionalModel) -> Regions:
    require_maps(model)
    lacking = [batch["case"][0] for batch in cases.batches if "fixed_label" not in batch]
    if lacking:
        raise DataError(
            f"{', '.join(lacking[:3])}: no label map of the fixed image, so its regions are unknown; leave out "
            "--regions to search one λ."
        )
    return regions_of(run, cases.codes)


def _groups(batches: Sequence[Batch], plan: SearchPlan) -> Iterator[Sequence[Batch]]:
    sizes = {"dataset": len(batches), "group": plan.group_size, "pair": 1}
    size = max(sizes[plan.scope], 1)
    for first in range(0, len(batches), size):
        yield batches[first : first + size]


def _measurable(
    run: TrainedRun,
    model: ConditionalModel,
    group: Sequence[Batch],
    objective: SearchObjective,
    regions: Regions | None,
    method: SearchMethod,
    failed: dict[str, str],
) -> Problem | None:
    """Return the problem of the cases that have an objective at the start; the others are noted as failed."""

    def problem(cases: Sequence[Batch]) -> Problem:
        return Problem(model, cases, objective=objective, regions=regions, use_masks=run.use_masks)

    good, checks = [], Effort()
    for case in group:
        alone = problem([case])
        try:
            alone.value(method.start(alone))
        except MedregError as error:
            failed[case["case"][0]] = str(error)
        else:
            good.append(case)
        checks.add(alone.effort)
    if not good:
        return None
    found = problem(good)
    found.effort.add(checks)
    return found


def _search_group(problem: Problem, method: SearchMethod) -> GroupResult:
    trace, error = Trace(), None
    try:
        method.minimise(problem, trace)
    except NumericalError as stopped:
        error = str(stopped)
    names = tuple(case["case"][0] for case in problem.cases)
    return GroupResult(names, trace, problem.effort, error)
