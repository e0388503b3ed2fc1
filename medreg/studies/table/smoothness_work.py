"""Rows of a trained run (`of`) whose smoothness λ is chosen: one λ, λ by two regions, or λ that was searched for."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import DictConfig

from medreg.errors import ConfigError
from medreg.models.chosen_smoothness import ChosenSmoothness
from medreg.runs.trained import TrainedRun
from medreg.studies.smoothness.control import evaluate_found
from medreg.studies.smoothness.job import SearchPlan, search
from medreg.studies.smoothness.run_cases import Cases, load_cases, load_run
from medreg.studies.smoothness.scores import METRICS, Scores, means
from medreg.studies.smoothness.two_regions import two_region_rows
from medreg.studies.table.claims import MEAN_OF
from medreg.studies.table.run_folder import COLUMNS
from medreg.studies.table.study_work import AttributeWork
from medreg.studies.table.work import Request

Measured = tuple[str, str, str, float, str]  # case, structure, metric, value, unit
STRUCTURES = {"dice": "mean"}  # of the other metrics: all
UNITS = {"folding_percent": "%"}  # of the other metrics: 1
SHUFFLES = 6  # permutations of λ over the regions, a control
SHUFFLE_SEED = 0


@dataclass
class RunStudyWork(AttributeWork):
    """A study of one trained run; its options are the attributes of the class.

    Attributes:
        ckpt: the run folder, set by the table.
        split: test or val.
        cases: at most so many, spread over the split; None takes all.
    """

    ckpt: str | None = None
    split: str = "test"
    cases: int | None = None

    def settings(self, seed: int, source: Path | None) -> dict[str, Any]:
        """Which run is studied."""
        if source is None:
            raise ConfigError(f"{type(self).__name__} studies a trained run: name its row (of: ROW).")
        return {"ckpt": str(source)}

    def rows(self, request: Request) -> pd.DataFrame:
        """Open the run and its cases and measure."""
        cfg = self.compose(request.overrides)
        run = load_run(Path(str(cfg.ckpt)))
        cases = load_cases(run, cfg.split, limit=cfg.cases)
        return pd.DataFrame(self.measure(run, cases, cfg, request.folder), columns=list(COLUMNS))

    @abstractmethod
    def measure(self, run: TrainedRun, cases: Cases, cfg: DictConfig, folder: Path) -> list[Measured]:
        """Return what was measured."""


@dataclass
class AtSmoothness(RunStudyWork):
    """Dice, folds, SD log J and gradient energy at one λ.

    Attributes:
        smoothness: λ; None is the model's own, also of models that take none.
        mean: only the mean over cases, to stand beside rows that have no more.
    """

    smoothness: float | None = None
    mean: bool = False

    def measure(self, run: TrainedRun, cases: Cases, cfg: DictConfig, folder: Path) -> list[Measured]:
        """Register every case once."""
        chosen = None if cfg.smoothness is None else ChosenSmoothness(cfg.smoothness, {})
        found = Scores(folder).of(run, chosen, cases)
        if cfg.mean:
            return [_row(_mean_of(cases), metric, value) for metric, value in means(found).items()]
        return [_row(one.case, metric, value) for one in found for metric, value in one.values.items()]


@dataclass
class TwoRegions(RunStudyWork):
    """Gradient energy with `high` in one region and `low` in the other, relative to `low` everywhere.

    Metrics: `stiff_energy` in the region of `high`, `soft_energy` in the other, each without its border.

    Attributes:
        codes: labels of region A; None is the first half of the image.
        stiff: a or b, the region of `high`.
        low: λ of little smoothness.
        high: λ of much smoothness.
    """

    codes: list[int] | None = None
    stiff: str = "a"
    low: float = 0.05
    high: float = 1.0

    def measure(self, run: TrainedRun, cases: Cases, cfg: DictConfig, folder: Path) -> list[Measured]:
        """Register every case with four maps."""
        codes = None if cfg.codes is None else list(cfg.codes)
        rows = two_region_rows(run, cases, codes, low=cfg.low, high=cfg.high)
        found = {str(row["map"]): {side: float(str(row[f"energy_{side}"])) for side in "ab"} for row in rows}
        values, free = ((cfg.high, cfg.low), "b") if cfg.stiff == "a" else ((cfg.low, cfg.high), "a")
        mapped, soft = found["A {:g}, B {:g}".format(*values)], found[f"{cfg.low:g} everywhere"]
        sides = (("stiff_energy", cfg.stiff), ("soft_energy", free))
        return [
            _row(_mean_of(cases), name, float(np.divide(mapped[side], soft[side]))) for name, side in sides
        ]


@dataclass
class SearchedSmoothness(RunStudyWork):
    """What a λ that was found on validation cases is worth; the search is kept in the run's folder.

    Attributes:
        choice: found, own (the model's), uniform (the best of the search cases), or shuffled (the mean of wrong
            orders over the regions).
        by_region: one λ for each region.
        method: of configs/smoothness.
        objective: of the search.
        changes: of the method's settings, such as {iterations: 30}.
        step: of the grid of uniform λ.
    """

    choice: str = "found"
    by_region: bool = False
    method: str = "adam"
    objective: str = "label_dice"
    changes: dict[str, Any] = field(default_factory=dict)
    step: float = 0.1

    def measure(self, run: TrainedRun, cases: Cases, cfg: DictConfig, folder: Path) -> list[Measured]:
        """Search on validation cases, measure on `cases`."""
        changes = tuple(f"{key}={value}" for key, value in cfg.changes.items())
        plan = SearchPlan(cfg.method, cfg.objective, cfg.by_region, "dataset", 1, changes)
        searched = load_cases(run, "val", limit=cfg.cases)
        result, file = search(run, searched, plan)
        table = evaluate_found(
            run,
            result,
            searched,
            cases,
            Scores(file.parent),
            step=cfg.step,
            shuffles=SHUFFLES,
            seed=SHUFFLE_SEED,
        )
        own = table[table["choice"].str.startswith({"own": "model's own"}.get(cfg.choice, cfg.choice))]
        if own.empty:
            raise ConfigError(
                f"choice={cfg.choice} is unknown here; choose found, own, uniform, or shuffled by region."
            )
        case = _mean_of(cases)
        return [_row(case, metric, float(own[metric].mean())) for metric in METRICS]


def _mean_of(cases: Cases) -> str:
    return f"{MEAN_OF}{len(cases.batches)} cases"


def _row(case: str, metric: str, value: float) -> Measured:
    return case, STRUCTURES.get(metric, "all"), metric, value, UNITS.get(metric, "1")
