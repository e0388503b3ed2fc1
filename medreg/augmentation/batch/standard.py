"""Standard augmentation: placement, elastic deformation, contrast and brightness, in one warp."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medreg.augmentation.batch.base import BatchAugmentation
from medreg.augmentation.batch.contrast import RandomContrast
from medreg.augmentation.batch.elastic import Elastic
from medreg.augmentation.batch.labelled_warp import warp_labelled
from medreg.augmentation.batch.placement import RandomPlacement
from medreg.augmentation.batch.unit_range import unit_range
from medreg.errors import ConfigError, require_whole
from medreg.geometry.grid import matrix_to_displacement


@dataclass(frozen=True)
class Standard(BatchAugmentation):
    """The augmentation that the authors of AdvChain train every method with.

    Chen et al. 2022, released experiment code, policy `ACDC_affine_elastic_intensity`. There images are resampled
    three times, by the affine map, the turn and the elastic deformation; here the maps are composed,
    x ↦ M (x + e(x)), and images are resampled once. Contrast comes before, as it does there. What lies outside is black
    and background; there the border goes on.

    Attributes:
        placement: affine maps M.
        elastic: displacements e; None for none.
        contrast: of intensities; None for none.
        crop: size of the result along each axis, voxels; None: that of the images. Larger images then fill the
            corners of a rotated crop, which otherwise are black.
        rescale: whether every image is brought back to [0, 1]. That undoes a change of contrast which clips nothing.
    """

    placement: RandomPlacement
    elastic: Elastic | None
    contrast: RandomContrast | None
    crop: Sequence[int] | None
    rescale: bool

    def __post_init__(self) -> None:
        for size in self.crop or ():
            require_whole("standard.crop", size, 1)

    def change(self, image: Tensor, target: Tensor, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw, compose, warp once."""
        if self.contrast is not None:
            image = self.contrast(image, generator=generator)
        displacement = self.displacement(image, generator=generator)
        image, target = warp_labelled(image, target, displacement)
        return (unit_range(image) if self.rescale else image), target

    def displacement(self, image: Tensor, *, generator: torch.Generator) -> Tensor:
        """Composed displacement (N, D, *T) of images (N, C, *S), voxels.

        Raises:
            ConfigError: the crop has another number of axes.
        """
        old = tuple(image.shape[2:])
        shape = old if self.crop is None else tuple(self.crop)
        if len(shape) != len(old):
            raise ConfigError(
                f"standard.crop is {list(shape)}, but images have {len(old)} axes; give one size each."
            )
        like = image[:, 0].to(torch.promote_types(image.dtype, torch.float32))
        maps = self.placement(like, shape, generator=generator)
        field = matrix_to_displacement(maps, shape)
        if self.elastic is not None:
            linear = maps[:, : len(shape), : len(shape)]
            field = field + _turned(linear, self.elastic(like, shape, generator=generator))
        if shape != old:
            apart = [(before - after) / 2 for before, after in zip(old, shape, strict=True)]
            field = field + field.new_tensor(apart).reshape(-1, *[1] * len(shape))
        return field


def _turned(linear: Tensor, field: Tensor) -> Tensor:
    """A e(x) for matrices (N, D, D) and vector fields (N, D, *S)."""
    return (linear @ field.flatten(2)).reshape(field.shape)
