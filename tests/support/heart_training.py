"""A small training of a task on shapes: batches in memory, the callbacks of a run that make resuming exact."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytorch_lightning as pl
import torch
from small_hearts import people
from torch import Tensor

from medreg.callbacks.checkpoint import BestCheckpoint, LastCheckpoint
from medreg.callbacks.history import History
from medreg.callbacks.random_state import RandomState


class Evaluation:
    """Scores nothing."""

    evaluator = SimpleNamespace(labels={"LV": 1, "MYO": 2, "RV": 3})


def batches(shape: Tensor, size: int = 4) -> list[dict[str, Any]]:
    """Batches of hearts (N, T, *S) with the covariates of `people`."""
    told = people(len(shape))
    return [
        {
            "shape": shape[part],
            "covariates": {name: values[part] for name, values in told.items()},
            "case": [f"heart{number}" for number in range(len(shape))][part],
            "spacing_mm": torch.ones(len(shape[part]), 3),
        }
        for part in (slice(begin, begin + size) for begin in range(0, len(shape), size))
    ]


def train(task: pl.LightningModule, shape: Tensor, folder: Path, epochs: int, **options: Any) -> pl.Trainer:
    """Fit a task on hearts, validated on the last two; continues from the folder's last checkpoint."""
    callbacks = [LastCheckpoint(), BestCheckpoint(monitor="val/loss", mode="min"), History(), RandomState()]
    trainer = pl.Trainer(
        max_epochs=epochs, accelerator="cpu", devices=1, logger=False, callbacks=callbacks, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=str(folder), num_sanity_val_steps=0, **options,
    )  # fmt: skip
    last = folder / "checkpoints" / "last.ckpt"
    trainer.fit(
        task,
        _Batches(batches(shape[:-2])),
        _Batches(batches(shape[-2:], 1)),
        ckpt_path=str(last) if last.is_file() else None,
        weights_only=True,
    )
    return trainer


class _Batches(torch.utils.data.DataLoader[Any]):
    def __init__(self, items: list[dict[str, Any]]) -> None:
        super().__init__(items, batch_size=None, shuffle=False)  # type: ignore[arg-type]
