"""A run folder of model=mad with random weights, small enough for tests of its use."""

from __future__ import annotations

from pathlib import Path

import torch

from medreg.models.mad import DistanceNetwork

OPTIONS = {
    "size": 8,
    "channels": [8, 8],
    "hidden": 4,
    "scaling": {"low": 0.5, "high": 99.5, "foreground": 0.02},
}


def tiny_distance(folder: Path, *, ndim: int = 2, target: str = "medreg.models.mad.DistanceNetwork") -> Path:
    """Write a checkpoint as a run would."""
    torch.manual_seed(0)
    network = DistanceNetwork(ndim, **OPTIONS)
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    content = {
        "state_dict": {f"model.{name}": value for name, value in network.state_dict().items()},
        "medreg": {"config": {"model": {"_target_": target, "ndim": ndim, **OPTIONS}}, "overrides": []},
    }
    torch.save(content, folder / "checkpoints" / "best.ckpt")
    return folder
