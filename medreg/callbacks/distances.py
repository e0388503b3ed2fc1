"""`distances.csv` and `landscapes.csv`: every probed distance, behind the scores of a trained distance."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from medreg.callbacks.tabular import append_rows, read_rows, replace_rows
from medreg.tasks.distance import DistanceResult

POINTS, POINT_COLUMNS = "distances.csv", ("case", "contrast", "method", "truth_mm", "predicted_mm")
CURVES = "landscapes.csv"
CURVE_COLUMNS = ("case", "contrast", "method", "motion", "unit", "value", "distance_mm")


class Distances(pl.Callback):
    """Write the points and landscapes of each test case; those of a case scored before are replaced."""

    def on_test_batch_end(  # noqa: D102
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if isinstance(outputs, DistanceResult):
            folder = Path(trainer.default_root_dir)
            _replace(folder / POINTS, POINT_COLUMNS, outputs.case, _points(outputs))
            _replace(folder / CURVES, CURVE_COLUMNS, outputs.case, _curves(outputs))


def _replace(file: Path, header: tuple[str, ...], case: str, rows: Iterator[tuple[object, ...]]) -> None:
    replace_rows(file, header, [row for row in read_rows(file) if row["case"] != case])
    append_rows(file, header, rows)


def _points(result: DistanceResult) -> Iterator[tuple[object, ...]]:
    scale = result.half_extent_mm
    for method, points in (result.points or {}).items():
        for truth, predicted in zip(points.truth.tolist(), points.predicted.tolist(), strict=True):
            yield result.case, result.contrast, method, scale * truth, scale * predicted


def _curves(result: DistanceResult) -> Iterator[tuple[object, ...]]:
    for method, curves in (result.curves or {}).items():
        for curve in curves:
            for value, distance in zip(curve.values, curve.measure.tolist(), strict=True):
                scaled = result.half_extent_mm * distance
                yield result.case, result.contrast, method, curve.motion, curve.unit, value, scaled
