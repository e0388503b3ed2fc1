"""Sizes at which operators are measured, and how they are written on the command line."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from medreg.errors import ConfigError

_FORM = re.compile(r"(?:(?P<batch>\d+)\*)?(?P<shape>\d+(?:x\d+){0,2})")


@dataclass(frozen=True)
class Size:
    """Batch and shape of the images of a measurement."""

    batch: int
    shape: tuple[int, ...]

    @property
    def ndim(self) -> int:
        """Spatial dimensions, 2 or 3."""
        return len(self.shape)

    @property
    def voxels(self) -> int:
        """Voxels of the whole batch."""
        return self.batch * math.prod(self.shape)

    @property
    def name(self) -> str:
        """The form of the command line, `16*192x192` or `96x96x96`."""
        shape = "x".join(map(str, self.shape))
        return shape if self.batch == 1 else f"{self.batch}*{shape}"

    @property
    def title(self) -> str:
        """For tables: `16 × 192²`, `96³`, `160 × 192 × 224`."""
        power = {2: "²", 3: "³"}[self.ndim]
        same = len(set(self.shape)) == 1
        shape = f"{self.shape[0]}{power}" if same else " × ".join(map(str, self.shape))
        return shape if self.batch == 1 else f"{self.batch} × {shape}"


def parse_size(text: str) -> Size:
    """Size of `96` (a cube), `160x192x224`, `192x192` or, with a batch, `16*192x192`.

    Raises:
        ConfigError: any other form.
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise ConfigError(f"--sizes {text} is not a size; write 96, 160x192x224, 192x192 or 16*192x192.")
    shape = tuple(int(side) for side in found["shape"].split("x"))
    return Size(int(found["batch"] or 1), shape * 3 if len(shape) == 1 else shape)
