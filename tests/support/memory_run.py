"""A trained run whose model was never on disk."""

from __future__ import annotations

from pathlib import Path

import torch

from medreg.runs.trained import TrainedRun


def run_of(model, config=None, **parts):
    """A run of a model in memory; parts such as `preprocess` take the place of what the configuration says."""
    run = TrainedRun(Path("run"), None, config or {"task": {"use_masks": False}}, {}, "", torch.device("cpu"))
    vars(run).update(model=model, **parts)
    return run
