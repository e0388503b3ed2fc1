"""One image of any grid on its way to a network, and probabilities on the way back."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from medreg.data.grids import crop_pad, whole_offset
from medreg.data.preprocess import Preprocess
from medreg.geometry.grid import Grid, identity_grid, world_displacement
from medreg.geometry.warp import warp
from medreg.io.image import Volume
from medreg.io.stack import across_slices, grid_of
from medreg.runs.scans import Scan

EDGE = (
    0.5 + 1e-3
)  # voxels beyond the centre of the last voxel that still belong to it, and rounding of headers


@dataclass(frozen=True, eq=False)
class PreparedImage:
    """An image on the grid of a network, and the way back.

    Attributes:
        image: (1, 1, X, Y, Z), or the slices (Z, 1, X, Y).
        grid: of the network, three axes.
        file: grid of the image as its file has it.
        planar: whether the network takes slices.
        turned: axis of the file that was made the last, because its slices lie along it; None where nothing was.
    """

    image: Tensor
    grid: Grid
    file: Grid
    planar: bool
    turned: int | None = None

    @property
    def slice_axis(self) -> int | None:
        """Axis of the file across the slices that the network saw, None for a volume."""
        if not self.planar:
            return None
        matrix = torch.linalg.solve(self.file.affine[:3, :3], self.grid.affine[:3, :3])
        return int((matrix[:, 2].abs() * self.file.spacing_mm).argmax())

    def back(self, probabilities: Tensor, *, keep: bool) -> OnFile:
        """Return the most probable class of every voxel of the file.

        Probabilities are interpolated linearly, class by class, and compared afterwards; so that no intermediate
        class appears between two others, as it would where codes are interpolated.

        Args:
            probabilities: (N, L + 1, *S) on the grid of the network.
            keep: whether to keep the probabilities on the grid of the file, too.
        """
        whole = probabilities.movedim(0, -1) if self.planar else probabilities[0]
        offset, shift = whole_offset(self.grid, self.file), world_displacement(self.file, self.grid)
        seen = self._seen(shift)
        index = torch.zeros(self.file.shape, dtype=torch.int64)
        best, kept = torch.full(self.file.shape, -torch.inf), []
        for place, values in enumerate(whole.float()):
            there = (
                warp(values[None, None], shift, padding="border")[0, 0]
                if offset is None
                else crop_pad(values[None], offset, self.file.shape)[0]
            )
            index = torch.where(there > best, place, index)
            best = torch.maximum(best, there)
            if keep:
                kept.append(torch.where(seen, there, float(place == 0)))
        return OnFile(torch.where(seen, index, 0), int((~seen).sum()), torch.stack(kept) if keep else None)

    def _seen(self, shift: Tensor) -> Tensor:
        """Return where on the grid of the file the network saw something, bool (X, Y, Z)."""
        position = (identity_grid(self.file.shape, dtype=shift.dtype) + shift)[0]
        last = torch.tensor(self.grid.shape, dtype=shift.dtype).reshape(3, 1, 1, 1) - 1
        return ((position >= -EDGE) & (position <= last + EDGE)).all(0)


@dataclass(frozen=True, eq=False)
class OnFile:
    """What was found, on the grid of the file.

    Attributes:
        index: (X, Y, Z) int64, the most probable class; 0 where the network saw nothing.
        outside: number of voxels that it did not see.
        probabilities: (L + 1, X, Y, Z), which add up to 1; None unless kept. Background beyond what was seen.
    """

    index: Tensor
    outside: int
    probabilities: Tensor | None


def prepare_image(preprocess: Preprocess, image: Volume, *, planar: bool) -> PreparedImage:
    """Prepare an image as those of the training were: orientation, voxel size, crop or padding, grey values.

    A stack whose slices do not lie along its last axis is turned, since the network knows slices only.

    Args:
        preprocess: of the run.
        image: as its file holds it.
        planar: whether the network takes slices.
    """
    file, turned = grid_of(image), None
    if planar and preprocess.orientation == "stored":
        axis = across_slices(file.shape, file.spacing_mm.tolist())
        if axis not in (None, 2):
            preprocess, turned = replace(preprocess, orientation="slices"), axis
    item = Scan(image).loaded(preprocess)
    choose = (lambda labels, depth: list(range(depth))) if planar else None
    made = preprocess.together({"": item}, choose=choose)
    array = made.arrays["image"].float()
    found = array.permute(3, 0, 1, 2) if planar else array.unsqueeze(0)
    return PreparedImage(found.contiguous(), made.grid, file, planar, turned)
