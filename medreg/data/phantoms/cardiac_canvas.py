"""Tissues of a chest in MR contrasts, and a canvas on which they are painted with soft borders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Signal = tuple[float, float]  # of water and of fat, in units of blood in the first contrast

# Relative signals by eye from cine and LGE images; T1 by order of magnitude at 1.5 T (1 = 1500 ms).
TISSUES: Mapping[str, Mapping[str, Signal]] = {
    "air": {"bssfp": (0.0, 0.0), "t1": (0.02, 0.0), "lge": (0.0, 0.0)},
    "lung": {"bssfp": (0.045, 0.0), "t1": (0.1, 0.0), "lge": (0.04, 0.0)},
    "fat": {"bssfp": (0.0, 0.85), "t1": (0.0, 0.2), "lge": (0.0, 0.75)},
    "muscle": {"bssfp": (0.24, 0.0), "t1": (0.63, 0.0), "lge": (0.22, 0.0)},
    "bone": {"bssfp": (0.04, 0.0), "t1": (0.08, 0.0), "lge": (0.03, 0.0)},
    "marrow": {"bssfp": (0.42, 0.08), "t1": (0.35, 0.05), "lge": (0.35, 0.1)},
    "liver": {"bssfp": (0.30, 0.0), "t1": (0.40, 0.0), "lge": (0.30, 0.0)},
    "spleen": {"bssfp": (0.44, 0.0), "t1": (0.75, 0.0), "lge": (0.40, 0.0)},
    "stomach": {"bssfp": (0.30, 0.0), "t1": (0.9, 0.0), "lge": (0.15, 0.0)},
    "fluid": {"bssfp": (0.90, 0.0), "t1": (1.6, 0.0), "lge": (0.15, 0.0)},
    "nerve": {"bssfp": (0.35, 0.0), "t1": (0.7, 0.0), "lge": (0.3, 0.0)},
    "vessel": {"bssfp": (0.75, 0.0), "t1": (1.0, 0.0), "lge": (0.65, 0.0)},
    "blood": {"bssfp": (1.0, 0.0), "t1": (1.05, 0.0), "lge": (0.72, 0.0)},
    "myocardium": {"bssfp": (0.30, 0.0), "t1": (0.65, 0.0), "lge": (0.08, 0.0)},
    "scar": {"bssfp": (0.33, 0.0), "t1": (0.88, 0.0), "lge": (1.0, 0.0)},
    "pericardium": {"bssfp": (0.06, 0.0), "t1": (0.3, 0.0), "lge": (0.05, 0.0)},
}
CONTRASTS = ("bssfp", "t1", "lge")


class Canvas:
    """Water and fat signal of each contrast at a set of points; later paint covers earlier paint.

    Args:
        shape: of the grid of points.
        contrasts: subset of `CONTRASTS`.
    """

    def __init__(self, shape: tuple[int, ...], contrasts: Sequence[str]) -> None:
        self.contrasts = tuple(contrasts)
        self.layers = np.zeros((len(self.contrasts), 2, *shape), dtype=np.float32)

    def paint(
        self,
        cover: Array,
        tissue: str,
        *,
        where: tuple[slice, slice] | None = None,
        gain: Array | float = 1.0,
    ) -> None:
        """Cover points by a tissue.

        Args:
            cover: share of each point that the tissue takes, 0 … 1.
            tissue: key of `TISSUES`.
            where: the part of the grid to which cover belongs; all of it by default.
            gain: factor of the signal, for texture.
        """
        area = where or (slice(None), slice(None))
        for layer, contrast in zip(self.layers, self.contrasts, strict=True):
            for channel, signal in zip(layer, TISSUES[tissue][contrast], strict=True):
                part = channel[area]
                part += cover * (np.float32(signal) * gain - part)

    def signal(self) -> Array:
        """Magnitude (contrasts, *shape): in cine water and fat are opposed, hence dark lines between them."""
        water, fat = self.layers[:, 0], self.layers[:, 1]
        opposed = np.array([1.0 if c == "bssfp" else -1.0 for c in self.contrasts], dtype=np.float32)
        return np.abs(water - opposed.reshape(-1, 1, 1) * fat)


def inside(distance: NDArray[np.floating], width: float) -> Array:
    """Share of a point inside a border: a ramp over `width` around distance 0 (negative inside)."""
    return np.clip(np.float32(0.5) - distance / np.float32(width), 0, 1).astype(np.float32, copy=False)
