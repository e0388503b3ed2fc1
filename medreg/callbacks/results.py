"""`results.csv`: the tidy per-case table, written as soon as each case is scored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from medreg.callbacks.tabular import append_rows, read_rows, replace_rows
from medreg.tasks.results import CaseResult

HEADER = (
    "run", "model", "data", "split", "case", "fixed", "moving", "method", "structure", "metric", "value", "unit",
)  # fmt: skip


TABLE, MARKER = "results.csv", "evaluated.json"


class Results(pl.Callback):
    """Write one row per case, method, structure and metric.

    The runner sets `labels` (the constant columns) and `evaluated` (what is being evaluated: checkpoint and options);
    cases already scored for the same `evaluated` are kept and not scored again after an interruption.

    Attributes:
        labels: values of the columns run, model, data and split.
        evaluated: identity of the evaluation; another one makes a new table.
    """

    def __init__(self) -> None:
        self.labels: dict[str, str] = {"run": "", "model": "", "data": "", "split": "test"}
        self.evaluated: dict[str, Any] = {}

    def scored(self, folder: Path) -> frozenset[str]:
        """Return the cases that an interrupted evaluation of the same thing has already scored."""
        if _read_json(folder / MARKER) != self.evaluated:
            return frozenset()
        return frozenset(row["case"] for row in _whole(folder / TABLE))

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the table of the same evaluation, begin anew for another."""
        if not trainer.is_global_zero:
            return
        folder = Path(trainer.default_root_dir)
        rows = _whole(folder / TABLE) if _read_json(folder / MARKER) == self.evaluated else []
        replace_rows(folder / TABLE, HEADER, rows)
        (folder / MARKER).write_text(json.dumps(self.evaluated, indent=2))

    def on_test_batch_end(  # noqa: D102
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if isinstance(outputs, CaseResult):
            append_rows(self.table(trainer), HEADER, self._rows(outputs))

    def _rows(self, result: CaseResult) -> list[list[object]]:
        constant = [self.labels[key] for key in ("run", "model", "data", "split")]
        return [
            [
                *constant,
                result.case,
                result.fixed,
                result.moving,
                method,
                row.structure,
                row.metric,
                row.value,
                row.unit,
            ]
            for method, rows in result.rows.items()
            for row in rows
        ]

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Gather the tables of the other processes into one."""
        trainer.strategy.barrier("results.end")
        if not trainer.is_global_zero:
            return
        folder = Path(trainer.default_root_dir)
        for part in sorted(folder.glob("results.rank*.csv")):
            rows = read_rows(part)
            append_rows(folder / TABLE, HEADER, [[row[key] for key in HEADER] for row in rows])
            part.unlink()

    @staticmethod
    def table(trainer: pl.Trainer) -> Path:
        """Return the table that this process writes."""
        name = TABLE if trainer.is_global_zero else f"results.rank{trainer.global_rank}.csv"
        return Path(trainer.default_root_dir) / name


def _whole(file: Path) -> list[dict[str, str]]:
    return [row for row in read_rows(file) if None not in row.values()]


def _read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text())
    except (OSError, json.JSONDecodeError):
        return None
