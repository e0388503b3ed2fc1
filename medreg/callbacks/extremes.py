"""The best, the median and the worst test case of a metric, kept for the report."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from torch import Tensor

from medreg.callbacks.on_case import OnCase
from medreg.callbacks.pictures import file_name
from medreg.io.atomic import replacing
from medreg.reporting.tables import OVERALL
from medreg.reporting.vocabulary import describe
from medreg.tasks.results import CaseResult

FOLDER = "extremes"  # in the run folder
ALL = ".cases"  # in it, until all are known
NAMES = ("best", "median", "worst")
SMALL = (np.uint8, np.int16, np.int32)


class Extremes(OnCase):
    """Write `extremes/best.npz`, `median.npz` and `worst.npz` with the arrays of those test cases.

    Which they are is known at the end only, so every case is kept until then, with its score; what a killed
    evaluation left is used by the one that goes on.

    Args:
        metric: by whose mean over structures cases are ordered.
        first: whether that of the first method counts, such as the completion of a heart before further samples;
            otherwise that of the last, the most refined one.
    """

    def __init__(self, *, metric: str, first: bool = False) -> None:
        self.metric, self.first = metric, first

    def on_case(self, trainer: pl.Trainer, result: CaseResult, index: int) -> None:  # noqa: D102
        if not result.arrays:
            return
        score = score_of(result, self.metric, first=self.first)
        if math.isnan(score):
            return
        arrays = {name: _small(array) for name, array in result.arrays.items()}
        known = {"score": np.array(score), "case": np.array(result.case), "metric": np.array(self.metric)}
        target = Path(trainer.default_root_dir) / FOLDER / ALL / f"{file_name(result.case)}.npz"
        with replacing(target) as part:
            np.savez_compressed(part, allow_pickle=False, **arrays, **known)

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep three of all."""
        trainer.strategy.barrier("extremes.end")
        if trainer.is_global_zero:
            keep(Path(trainer.default_root_dir) / FOLDER, higher=describe(self.metric).better != "lower")


def score_of(result: CaseResult, metric: str, *, first: bool = False) -> float:
    """Mean over structures of a metric of a case, by its last or first method; NaN where it was not measured."""
    methods = list(result.rows.values())
    chosen = methods[:1] if first else methods[-1:]
    rows = [row for rows in chosen for row in rows if row.metric == metric]
    return next((row.value for name in OVERALL for row in rows if row.structure == name), math.nan)


def keep(folder: Path, *, higher: bool) -> None:
    """Keep best, median and worst of the cases below a folder, and remove the others.

    Args:
        folder: that holds `.cases`.
        higher: whether a higher score is better.
    """
    scores: dict[Path, float] = {}
    for file in sorted((folder / ALL).glob("*.npz")):
        with np.load(file, allow_pickle=False) as archive:
            scores[file] = float(archive["score"])
    if not scores:
        return
    ordered = sorted(scores, key=lambda file: (scores[file], file.name), reverse=higher)
    places = (0, len(ordered) // 2, len(ordered) - 1)
    for name in NAMES:
        (folder / f"{name}.npz").unlink(missing_ok=True)
    for name, place in zip(NAMES, places, strict=True):
        if ordered[place].exists():  # of fewer than three cases one stands for several
            ordered[place].replace(folder / f"{name}.npz")
    shutil.rmtree(folder / ALL)


def _small(array: Tensor) -> np.ndarray[Any, Any]:
    """Whole numbers in the smallest type, half precision as float32, everything else as it is."""
    plain = array.detach().cpu()
    if plain.is_floating_point():
        return (plain.float() if plain.element_size() < 4 else plain).numpy()
    found = plain.numpy()
    if found.dtype.kind not in "iu" or not found.size:
        return found
    low, high = int(found.min()), int(found.max())
    fitting = (t for t in SMALL if np.iinfo(t).min <= low and high <= np.iinfo(t).max)
    return found.astype(next(fitting, found.dtype))
