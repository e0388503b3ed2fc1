"""Two images of any grid on their way to a model and its field on the way back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from monai.data.meta_tensor import MetaTensor
from torch import Tensor

from medreg.data.loading import as_float
from medreg.data.preprocess import Preprocess
from medreg.geometry.grid import Grid, identity_grid, world_displacement
from medreg.geometry.pair_transform import PairTransform
from medreg.geometry.warp import warp
from medreg.io.image import Volume
from medreg.io.stack import grid_of, tensor_of

FADE = 8.0  # voxels beyond a crop, at least, over which its field falls to zero
STEEPEST = 3.0  # times the longest displacement, likewise: no slope that folds


@dataclass(frozen=True, eq=False)
class Scan:
    """An image as its file holds it, with what lies on its grid.

    Attributes:
        image: the image.
        label: label map, None where there is none.
        mask: where the image may be compared (> 0), None for everywhere.
    """

    image: Volume
    label: Volume | None = None
    mask: Volume | None = None

    def loaded(self, preprocess: Preprocess) -> dict[str, Tensor]:
        """Return image, label and mask, oriented and resampled as the data modules do with files."""
        arrays, codes = {"image": tensor_of(self.image)[0]}, None
        if self.label is not None:
            arrays["label"], codes = as_float(tensor_of(self.label, dtype=torch.int32)[0])
        if self.mask is not None:
            arrays["mask"] = (tensor_of(self.mask)[0] > 0).float()
        affine = grid_of(self.image).affine
        item: Any = {key: MetaTensor(array, affine=affine.clone()) for key, array in arrays.items()}
        item |= {} if codes is None else {"label_codes": codes}
        for step in preprocess.transform(()).transforms[1:]:  # the first one reads files
            item = step(item)
        return dict(item)


@dataclass(frozen=True, eq=False)
class PreparedScans:
    """A pair on the grid of a model, and the way back.

    Attributes:
        batch: images, labels and masks (1, 1, *S), `spacing_mm` (3,).
        grid: of the model.
        fixed: of the fixed image's file.
        moving: of the moving image's file.
        world: (4, 4) map from fixed to moving world, RAS mm, that the alignment of the training implies.
    """

    batch: Mapping[str, Tensor]
    grid: Grid
    fixed: Grid
    moving: Grid
    world: Tensor

    def back(self, displacement: Tensor, slice_axis: int | None) -> PairTransform:
        """Return a field (1, 3, *S) of the model's grid as a map between the images.

        Beyond the crop that the model saw the field fades to zero: continued as at the border it would smear what lies
        there.

        Args:
            displacement: voxels of the model's grid.
            slice_axis: axis across slices of the model's grid, None for a volume.
        """
        matrix = torch.linalg.solve(self.fixed.affine[:3, :3], self.grid.affine[:3, :3]).float()
        shift = world_displacement(self.fixed, self.grid)
        there = warp(displacement, shift, padding="border") * self._faded(displacement, shift)
        carried = torch.einsum("ij,bjxyz->bixyz", matrix, there)
        axis = None if slice_axis is None else int(matrix[:, slice_axis].abs().argmax())
        return PairTransform(self.fixed, self.moving, self.world, carried, axis)

    def _faded(self, displacement: Tensor, shift: Tensor) -> Tensor:
        """Return (1, 1, *S_f): 1 where the model's grid is, falling to 0 beyond it, slowly enough not to fold."""
        reach = max(FADE, STEEPEST * float(displacement.abs().max()))
        position = identity_grid(self.fixed.shape, dtype=shift.dtype) + shift
        end = (
            torch.tensor(self.grid.shape, dtype=shift.dtype).reshape(1, 3, 1, 1, 1) - 0.5
        )  # voxels have an extent
        outside = torch.maximum(-0.5 - position, position - end).clamp(min=0).amax(1, keepdim=True)
        return (1 - outside / reach).clamp(0, 1).to(displacement.dtype)


def prepare(preprocess: Preprocess, fixed: Scan, moving: Scan) -> PreparedScans:
    """Prepare two images as a run's data are, whole volumes."""
    first, second = fixed.loaded(preprocess), moving.loaded(preprocess)
    prepared = preprocess.prepare(first, second, None)
    return PreparedScans(
        batch={
            **{key: array.unsqueeze(0) for key, array in prepared.arrays.items()},
            "spacing_mm": prepared.grid.spacing_mm.float(),
        },
        grid=prepared.grid,
        fixed=grid_of(fixed.image),
        moving=grid_of(moving.image),
        # Alignment by index is one of the arrays as loaded: oriented and resampled.
        world=second["affine"] @ torch.linalg.inv(prepared.placed.affine),
    )


def prepare_map(preprocess: Preprocess, fixed: Scan, values: Volume, *, background: float) -> Tensor:
    """Send a map on the grid of the fixed image the way of that image, without normalisation.

    Args:
        preprocess: of the run.
        fixed: the fixed image, whose label may say where the crop is.
        values: the map.
        background: its value outside the image.

    Returns:
        (1, 1, *S) on the grid of the model.
    """
    plain = replace(preprocess, intensity=None, background=background, mask_input=False, alignment="world")
    item = Scan(values, fixed.label).loaded(plain)
    return plain.prepare(item, item, None).arrays["fixed_image"].unsqueeze(0)
