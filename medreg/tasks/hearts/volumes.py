"""How far the volumes of new hearts are from those of real ones: what chooses among models without a likelihood."""

from __future__ import annotations

import torch
from torch import Tensor


class VolumeDistance:
    """Mean over structures and frames of the Wasserstein distance between real and new volumes, in SDs of the real.

    Args:
        classes: L + 1.
    """

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self._counts: list[tuple[Tensor, Tensor]] = []

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, real: Tensor, made: Tensor) -> None:
        """Count the voxels of as many real hearts as new ones, (B, T, *S) each."""
        self._counts.append((self._volumes(real), self._volumes(made)))

    def take(self) -> Tensor:
        """Return the distance, and begin anew; a structure that never varies counts in voxels."""
        real, made = (torch.cat(each) for each in zip(*self._counts, strict=True))
        self._counts = []
        spread = real.std(0, correction=0)
        apart = (real.sort(0).values - made.sort(0).values).abs().mean(0)
        return (apart / torch.where(spread > 0, spread, torch.ones_like(spread))).mean()

    def _volumes(self, shape: Tensor) -> Tensor:
        """(B, T, L) voxels."""
        counts = [(shape == place).flatten(2).sum(2) for place in range(1, self.classes)]
        return torch.stack(counts, 2).double().cpu()
