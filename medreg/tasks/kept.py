"""Tensors that a training keeps for every pair from one visit to the next, in memory or on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medreg.io.atomic import replacing
from medreg.io.checkpoint import read

Tensors = dict[str, Tensor]


class KeptTensors:
    """A few named tensors by key, for a training that goes on with them when it meets the key again.

    In memory they travel in the checkpoints, so that a resumed training goes on bit by bit. In a folder, for more than
    fits there, a checkpoint holds only how often each key was visited: the last two visits of a key are kept, which
    is enough to go on from the end of an epoch that visits every key once. Where a training that was killed had gone
    further, it begins with what is newer.

    Args:
        folder: one file a key and visit; None keeps everything in memory.
    """

    def __init__(self, folder: str | None = None) -> None:
        self.folder = None if folder is None else Path(folder).expanduser()
        self._memory: dict[str, Tensors] = {}
        self._visits: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._visits)

    def get(self, key: str) -> Tensors | None:
        """Return what was kept under a key, on the CPU; None before its first visit.

        Raises:
            CheckpointError: the file is damaged.
        """
        if key not in self._visits:
            return None
        if self.folder is None:
            return self._memory[key]
        file = self._file(key, self._visits[key])
        return dict(read(file)["state_dict"]) if file.is_file() else None

    def put(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        """Keep tensors under a key in place of the earlier ones.

        Raises:
            OSError: the file cannot be written.
        """
        plain = {name: tensor.detach().cpu() for name, tensor in tensors.items()}
        self._visits[key] = self._visits.get(key, 0) + 1
        if self.folder is None:
            self._memory[key] = plain
            return
        with replacing(self._file(key, self._visits[key])) as part:
            torch.save({"state_dict": plain}, part)

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds: everything in memory, or the number of visits."""
        return {"visits": dict(self._visits), "memory": dict(self._memory)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from the state of a checkpoint."""
        self._visits, self._memory = dict(state["visits"]), dict(state["memory"])

    def _file(self, key: str, visit: int) -> Path:
        assert self.folder is not None
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:20]}_{visit % 2}.pt"
