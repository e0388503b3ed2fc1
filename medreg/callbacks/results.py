"""`results.csv` and the other tables of evaluated cases, written as soon as each case is scored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from medreg.callbacks.on_case import OnCase
from medreg.callbacks.tabular import append_rows, replace_rows
from medreg.io.atomic import write_json
from medreg.io.digest import digest_of
from medreg.metrics.hearts.sources import POPULATION
from medreg.study.store import Store
from medreg.study.unit import Outcome
from medreg.tasks.results import CaseResult

MAIN, MARKER, FOLDER = "results", "evaluated.json", "store"
Rows = Sequence[Mapping[str, Any]]


class Results(OnCase):
    """Keep the rows of each case in a store, whole cases or none, and show them as CSV tables.

    A case is a unit of `store/results.jsonl`, determined by what is evaluated; a case that is there already is not
    scored again after an interruption. `results.csv` shows the same rows, and so do further tables of the task.

    The runner sets `labels` (the constant columns) and calls `begin`.

    Attributes:
        labels: values of the columns run, model, data and split.
    """

    def __init__(self) -> None:
        self.labels: dict[str, str] = {"run": "", "model": "", "data": "", "split": "test"}
        self._digest = ""
        self._stores: dict[str, Store] = {}

    def begin(self, folder: Path, evaluated: Mapping[str, Any], *, main: bool) -> frozenset[str]:
        """Say what is evaluated, drop what the tables hold of another evaluation, and return the cases that are done.

        Args:
            folder: of the run.
            evaluated: checkpoint and options that determine the rows.
            main: whether this process writes the tables.
        """
        self._digest = digest_of(evaluated)
        self._open(folder)
        if main:
            write_json(folder / MARKER, evaluated)
            self._show(folder)
        return self._done() - {POPULATION}

    def on_case(self, trainer: pl.Trainer, result: CaseResult, index: int) -> None:  # noqa: D102
        folder = Path(trainer.default_root_dir)
        # The main table last: a case counts as done when all of its tables are.
        for name, rows in {**result.tables, MAIN: result_rows(result)}.items():
            if name not in self._stores:
                self._stores[name] = Store(folder / FOLDER / f"{name}.jsonl")
            noted = {"tables": sorted(result.tables)} if name == MAIN else {}
            outcome = Outcome({"case": result.case}, self._digest, tuple(rows), cost=noted)
            if trainer.world_size == 1:  # the table before the store: what is stored is always shown
                shown = list(self._shown(name, [outcome]))
                append_rows(folder / f"{name}.csv", list(shown[0]), shown) if shown else None
            self._stores[name].add(outcome)

    def has(self, case: str) -> bool:
        """Say whether there are rows of a case of this evaluation."""
        return any(outcome.key["case"] == case for outcome in self._outcomes(MAIN))

    def replace(self, folder: Path, result: CaseResult) -> None:
        """Keep the rows of a case in place of those that it may have: of one that is about all cases together.

        Args:
            folder: of the run.
            result: of the case, without further tables.
        """
        self._stores[MAIN].add(Outcome({"case": result.case}, self._digest, tuple(result_rows(result))))
        self._show(folder)

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show what all processes have stored."""
        trainer.strategy.barrier("results.end")
        if trainer.is_global_zero and trainer.world_size > 1:
            self._open(Path(trainer.default_root_dir))
            self._show(Path(trainer.default_root_dir))

    def _open(self, folder: Path) -> None:
        """Read every table that the run has stored, the main one in any case."""
        names = {MAIN, *(file.stem for file in (folder / FOLDER).glob("*.jsonl"))}
        self._stores = {name: Store(folder / FOLDER / f"{name}.jsonl") for name in sorted(names)}

    def _show(self, folder: Path) -> None:
        """Rewrite every table from its store, with the cases that are done."""
        done = self._done()
        for name in self._stores:
            kept = [outcome for outcome in self._outcomes(name) if outcome.key["case"] in done]
            rows = list(self._shown(name, kept))
            file = folder / f"{name}.csv"
            if rows:
                replace_rows(file, list(rows[0]), rows)
            else:
                file.unlink(missing_ok=True)

    def _done(self) -> frozenset[str]:
        """Return the cases that have all of their tables; a line that was lost takes the whole case with it."""
        have = {name: {outcome.key["case"] for outcome in self._outcomes(name)} for name in self._stores}
        return frozenset(
            str(outcome.key["case"])
            for outcome in self._outcomes(MAIN)
            if all(
                outcome.key["case"] in have.get(name, ()) for name in (outcome.cost or {}).get("tables", ())
            )
        )

    def _outcomes(self, name: str) -> list[Outcome]:
        return [outcome for outcome in self._stores[name] if outcome.digest == self._digest]

    def _shown(self, name: str, outcomes: Sequence[Outcome]) -> Iterator[dict[str, Any]]:
        constant = self.labels if name == MAIN else {}
        for outcome in outcomes:
            for row in outcome.rows:
                yield {**constant, **outcome.key, **row}


def result_rows(result: CaseResult) -> Rows:
    """Rows of results.csv that say what was measured of a case, by method."""
    return [
        {
            **result.columns,
            "method": method,
            "structure": row.structure,
            "metric": row.metric,
            "value": row.value,
            "unit": row.unit,
        }
        for method, rows in result.rows.items()
        for row in rows
    ]
