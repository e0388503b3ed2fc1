"""Where structures are, and how large, under the samples of a posterior."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from medreg.errors import CompositionError, DataError
from medreg.geometry.warp import Padding, warp_labels
from medreg.inference.sampling.draw import Draw
from medreg.metrics.overlap import dice_from_counts, joint_histogram, label_index, voxel_counts


class LabelCounts:
    """Probability maps of structures, and the volume and Dice of every sample.

    The moving label map is warped by every sample with the nearest label; chains of a pair are pooled. Memory grows
    by a few numbers a sample.

    Args:
        moving_labels: (P, 1, *S_moving) integers; chain c of pair p is at c·P + p.
        labels: structure name → code.
        spacing_mm: (P, D) or (D,) voxel size of the fixed grid.
        fixed_labels: (P, 1, *S) integers, or None: then there is no Dice.
        padding: label outside the moving image, background 0 ("zeros") or the "border" label.

    Attributes:
        count: (P,) samples taken in.

    Raises:
        ConfigError: two structures have the same code.
        DataError: fixed and moving labels are of different numbers of pairs.
    """

    def __init__(
        self,
        moving_labels: Tensor,
        labels: Mapping[str, int],
        *,
        spacing_mm: Tensor,
        fixed_labels: Tensor | None = None,
        padding: Padding = "zeros",
    ) -> None:
        self.moving, self.labels, self.padding = moving_labels, dict(labels), padding
        self._codes = list(self.labels.values())
        pairs, axes = len(moving_labels), moving_labels.ndim - 2
        # mm³ in a millilitre, mm² in a square centimetre
        size = spacing_mm.double().expand(pairs, axes).prod(1).cpu() / (1000 if axes == 3 else 100)
        self._voxel = size.tolist()
        moving_index = label_index(moving_labels, self._codes)
        self._moving_counts = voxel_counts(moving_index, len(self._codes))
        if fixed_labels is not None and len(fixed_labels) != pairs:
            raise DataError(
                f"There are fixed labels of {len(fixed_labels)} pairs and moving labels of {pairs}; give both of all."
            )
        self._fixed = None if fixed_labels is None else label_index(fixed_labels, self._codes).to(torch.int32)
        self.count = [0] * pairs
        self._found: Tensor | None = None  # (P, L, *S) int32
        self._sizes: list[list[list[float]]] = [[] for _ in range(pairs)]  # pair, sample, structure: voxels
        self._dice: list[list[list[float]]] = [[] for _ in range(pairs)]
        self._slots: list[list[int]] = [[] for _ in range(pairs)]

    @property
    def unit(self) -> str:
        """Unit of `sizes`."""
        return "mL" if self.moving.ndim == 5 else "cm²"

    def __call__(self, draw: Draw) -> None:
        """Take in the displacements (S, D, *S), voxels, of the chains that run."""
        for slot, displacement in draw.slots():
            self.add(slot % len(self.moving), displacement, slot=slot)

    def add(self, pair: int, displacement: Tensor, *, slot: int = 0) -> None:
        """Take in one displacement (D, *S) of a pair, voxels; `slot` says of which chain it is."""
        count = len(self._codes)
        warped = warp_labels(self.moving[pair : pair + 1], displacement[None], padding=self.padding)
        index = label_index(warped, self._codes)
        if self._found is None:
            self._found = torch.zeros(
                len(self.moving), count, *index.shape[2:], dtype=torch.int32, device=index.device
            )
        for place in range(count):
            self._found[pair, place] += index[0, 0] == place + 1
        self._sizes[pair].append(voxel_counts(index, count)[0].double().tolist())
        if self._fixed is not None:
            histogram = joint_histogram(self._fixed[pair : pair + 1], index, count)
            dice = dice_from_counts(histogram, self._moving_counts[pair : pair + 1])
            self._dice[pair].append(dice.tolist())
        self._slots[pair].append(slot)
        self.count[pair] += 1

    def probabilities(self) -> Tensor:
        """Share of the samples that see each structure at each voxel, (P, L, *S) float32; background is the rest.

        Raises:
            CompositionError: a pair has no sample.
        """
        if self._found is None or not min(self.count):
            raise CompositionError("A pair has no sample, so that nothing can be said of its labels.")
        count = torch.tensor(self.count, dtype=torch.float32, device=self._found.device)
        return self._found / count.reshape(-1, *[1] * (self._found.ndim - 1))

    def sizes(self, pair: int = 0) -> Tensor:
        """Volume of each structure in each sample, (n, L) float64, in `unit` (mL; cm² in 2-D)."""
        return self._table(self._sizes[pair]) * self._voxel[pair]

    def dice(self, pair: int = 0) -> Tensor:
        """Dice of each structure in each sample, (n, L) float64; NaN where it is not scored.

        Raises:
            CompositionError: there are no fixed labels.
        """
        if self._fixed is None:
            raise CompositionError("Dice needs the labels of the fixed image; give fixed_labels.")
        return self._table(self._dice[pair])

    def slots(self, pair: int = 0) -> Tensor:
        """The chain's place in the batch for each sample, (n,), in the order of `sizes` and `dice`."""
        return torch.tensor(self._slots[pair], dtype=torch.int64)

    def interval(self, level: float, pair: int = 0) -> Tensor:
        """Central credible interval of the volume of each structure, (L, 2), in `unit`.

        Args:
            level: probability between 0 and 1, such as 0.95.
            pair: which pair.

        Raises:
            CompositionError: no sample.
        """
        if not self.count[pair]:
            raise CompositionError("An interval of volumes needs samples, and there are none.")
        ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
        return torch.quantile(self.sizes(pair), ends, dim=0).mT

    def _table(self, rows: list[list[float]]) -> Tensor:
        return torch.tensor(rows, dtype=torch.float64).reshape(len(rows), len(self._codes))

    def state(self) -> dict[str, Any]:
        """Everything but the labels, as tensors and plain values."""
        return {
            "count": self.count,
            "found": self._found,
            "sizes": self._sizes,
            "dice": self._dice,
            "slots": self._slots,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.count = list(state["count"])
        found = state["found"]
        self._found = None if found is None else found.clone().to(self.moving.device)
        self._sizes, self._dice, self._slots = copy.deepcopy((state["sizes"], state["dice"], state["slots"]))
