"""Keep the arrays of a few test cases for the report and W&B; drawing is the report's business."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from torch import Tensor

from medreg.callbacks.on_case import OnCase
from medreg.io.atomic import replacing
from medreg.tasks.results import CaseResult


def file_name(case: str) -> str:
    """Return a case id as a file name."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", case)


class Pictures(OnCase):
    """Write `cases/<case>.npz` with the arrays of the first test cases that have any.

    Args:
        cases: how many.
    """

    def __init__(self, *, cases: int) -> None:
        self.cases = cases

    def on_case(self, trainer: pl.Trainer, result: CaseResult, index: int) -> None:  # noqa: D102
        if not result.arrays or index >= self.cases or not trainer.is_global_zero:
            return
        arrays = {name: _plain(array) for name, array in result.arrays.items()}
        target = Path(trainer.default_root_dir) / "cases" / f"{file_name(result.case)}.npz"
        with replacing(target) as part:
            np.savez_compressed(part, allow_pickle=False, **arrays)


def _plain(array: Tensor) -> np.ndarray[Any, Any]:
    """Half precision as float32, everything else as it is."""
    array = array.detach().cpu()
    return (array.float() if array.is_floating_point() and array.element_size() < 4 else array).numpy()
