"""What an artefact is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medreg.data.artefacts.library import torchio
from medreg.errors import ConfigError


class Artefact(ABC):
    """A kind of artefact, whose parameters are drawn anew for every image.

    Subclasses are frozen dataclasses of the ranges from which is drawn. Ranges are those of strength 1; the same
    draw at another strength is the same artefact, weaker or stronger.
    """

    @abstractmethod
    def draw(self, shape: Sequence[int], *, generator: np.random.Generator, strength: float) -> Any:
        """Return a transform of TorchIO without anything random in it.

        Args:
            shape: of the image, (slices, rows, columns).
            generator: of the parameters.
            strength: factor of the ranges.
        """

    def voxel_size(self, spacing_mm: Sequence[float]) -> Sequence[float]:
        """Return the voxel size that TorchIO is told; only motion asks for one."""
        return (1.0, 1.0, 1.0)

    def __call__(
        self,
        image: Tensor,
        *,
        spacing_mm: Sequence[float],
        generator: np.random.Generator,
        strength: float,
    ) -> Tensor:
        """Return the image with the artefact, float32.

        The array has the axes of the released generator of ACDC-C, which gives TorchIO arrays of SimpleITK: it cuts
        k-space along the last axis, which must not be the one of few, thick slices.

        Args:
            image: (1, slices, rows, columns).
            spacing_mm: voxel size along these axes, mm.
            generator: of the parameters.
            strength: factor of the ranges; 0 leaves the image as it is.
        """
        if strength == 0:
            return image
        transform = self.draw(tuple(image.shape[1:]), generator=generator, strength=strength)
        affine = np.diag([*self.voxel_size(spacing_mm), 1.0])
        scan = torchio().ScalarImage(tensor=image.to(torch.float32).contiguous(), affine=affine)
        with torch.random.fork_rng(devices=[]):  # TorchIO asks chance whether to do anything at all
            changed: Tensor = transform(torchio().Subject(image=scan))["image"].data
        return changed.to(torch.float32).contiguous()


def least_and_most(name: str, values: Sequence[float]) -> tuple[float, float]:
    """Return a range.

    Args:
        name: of the option below data.corruption.kinds.
        values: of the option.

    Raises:
        ConfigError: it is none.
    """
    pair = tuple(float(value) for value in values)
    if len(pair) != 2 or not 0 <= pair[0] <= pair[1]:
        raise ConfigError(
            f"data.corruption.kinds.{name} is {list(values)}; give the least and the most, 0 or more."
        )
    return pair[0], pair[1]
