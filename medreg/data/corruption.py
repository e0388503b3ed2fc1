"""Corrupted copies of images: what is done to one, and which copies there are of every test image."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from medreg.data.artefacts.base import Artefact
from medreg.data.artefacts.library import INSTALL, version
from medreg.errors import ConfigError, DataError, require_whole

LEAST = 1e-3  # mean |difference| of an artefact of strength 1 or more, of the range of the image
ATTEMPTS = 20  # draws before an artefact that changes nothing is taken for a defect of the library


@dataclass(frozen=True)
class Corruption:
    """What makes one corrupted copy of one image; its text determines the result.

    Attributes:
        case: name of the image.
        kind: name of the artefact, such as "motion".
        copy: number of the copy, from 1.
        artefact: what is done.
        strength: factor of the ranges of the artefact; 0 leaves the image as it is.
        seed: of all copies.
        library: version of TorchIO.
    """

    case: str
    kind: str
    copy: int
    artefact: Artefact
    strength: float
    seed: int
    library: str

    def __call__(self, image: Tensor, spacing_mm: Sequence[float]) -> Tensor:
        """Return the corrupted image.

        A draw may hit nothing, such as the one outermost plane of k-space of a stack of few slices; the next one is
        taken then, so that every copy differs from its image.

        Args:
            image: (1, X, Y, Z) as stored, slices along the last axis.
            spacing_mm: voxel size along X, Y, Z, mm.

        Raises:
            DataError: no draw changes the image.
        """
        if self.strength == 0:
            return image
        turned, share = image.permute(0, 3, 2, 1), 0.0
        for attempt in range(ATTEMPTS):
            words = [
                self.seed,
                zlib.crc32(self.case.encode()),
                zlib.crc32(self.kind.encode()),
                self.copy,
                attempt,
            ]
            made = self.artefact(
                turned,
                spacing_mm=tuple(reversed(spacing_mm)),
                generator=np.random.default_rng(words),
                strength=self.strength,
            )
            share = changed_share(turned, made)
            if share > LEAST * min(1.0, self.strength):
                return made.permute(0, 3, 2, 1).contiguous()
        raise DataError(
            f"The corruption {self.kind} of {self.case} changes the image by {share:.1e} of its range in each of "
            f"{ATTEMPTS} draws (TorchIO {self.library}): results on it would look like perfect robustness. Correct "
            f"data.corruption.kinds.{self.kind}, or install TorchIO anew: {INSTALL}"
        )


def changed_share(image: Tensor, other: Tensor) -> float:
    """Return the mean absolute difference of two images, as a share of the range of the first; 0 where it has none."""
    span = float(image.max() - image.min())
    return float((other - image).abs().mean()) / span if span > 0 else 0.0


@dataclass(frozen=True)
class Corruptions:
    """The corrupted copies of every test image.

    Attributes:
        kinds: artefacts by name; not mixed with each other.
        copies: of an image and kind.
        strength: factor of the ranges of all artefacts, for curves; 1 is as stated there, 0 the clean image.
        seed: of the copies; not the seed of the run, so that all runs see the same.
    """

    kinds: Mapping[str, Artefact]
    copies: int
    strength: float
    seed: int

    def __post_init__(self) -> None:
        require_whole("data.corruption.copies", self.copies, 1)
        require_whole("data.corruption.seed", self.seed, 0)
        if not self.kinds:
            raise ConfigError("data.corruption.kinds is empty; name an artefact, such as motion.")
        if not 0 <= self.strength < float("inf"):
            raise ConfigError(f"data.corruption.strength is {self.strength}; give 0 (clean) or more.")

    def of(self, case: str) -> list[Corruption]:
        """Return the copies of an image in a fixed order.

        Raises:
            MissingExtra: TorchIO is not installed, or is not version 1.
        """
        library = version() if self.strength else "none"
        return [
            Corruption(case, kind, copy, artefact, float(self.strength), self.seed, library)
            for kind, artefact in self.kinds.items()
            for copy in range(1, self.copies + 1)
        ]
