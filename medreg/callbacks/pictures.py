"""Keep the arrays of a few test cases for the report and W&B; drawing is the report's business."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from torch import Tensor

from medreg.tasks.results import CaseResult


def file_name(case: str) -> str:
    """Return a case id as a file name."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", case)


class Pictures(pl.Callback):
    """Write `cases/<case>.npz` for the first test cases.

    Args:
        cases: how many.
    """

    def __init__(self, *, cases: int) -> None:
        self.cases = cases

    def on_test_batch_end(  # noqa: D102
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not isinstance(outputs, CaseResult) or batch_idx >= self.cases or not trainer.is_global_zero:
            return
        folder = Path(trainer.default_root_dir) / "cases"
        folder.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(
            folder / f"{file_name(outputs.case)}.npz", allow_pickle=False, **self._arrays(outputs, batch)
        )

    @staticmethod
    def _arrays(result: CaseResult, batch: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {
            "fixed": _image(batch["fixed_image"]),
            "moving": _image(batch["moving_image"]),
            "warped": _image(result.warped),
            "displacement": result.displacement.detach().float().cpu().numpy(),
            "spacing_mm": batch["spacing_mm"][0].cpu().numpy(),
            "affine": batch["affine"][0].cpu().numpy(),
        }
        for name in ("fixed_label", "moving_label"):
            if name in batch:
                found[name] = batch[name][:, 0].cpu().numpy()
        if result.warped_label is not None:
            found["warped_label"] = result.warped_label[:, 0].cpu().numpy()
        if "displacement" in batch:
            found["truth"] = batch["displacement"].float().cpu().numpy()
        if found["fixed"].shape[0] == 1:  # a volume or a single slice, not a stack
            found = {
                key: value if key in ("spacing_mm", "affine") else value[0] for key, value in found.items()
            }
        return found


def _image(image: Tensor) -> np.ndarray[Any, Any]:
    return image[:, 0].detach().float().cpu().numpy()
