"""A smooth field of brightness (Van Leemput et al., IEEE TMI 1999, as TorchIO 1 implements it)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np

from medreg.data.artefacts.base import Artefact
from medreg.data.artefacts.library import torchio


@dataclass(frozen=True)
class Bias(Artefact):
    """The exponential of a polynomial of the position.

    Attributes:
        coefficients: largest size of a coefficient; the image is as wide as from −1 to 1.
        order: of the polynomial.
    """

    coefficients: float
    order: int

    def draw(self, shape: Sequence[int], *, generator: np.random.Generator, strength: float) -> Any:
        """Return `torchio.BiasField` with its polynomial."""
        count = comb(self.order + 3, 3)
        drawn = strength * generator.uniform(-self.coefficients, self.coefficients, count)
        return torchio().transforms.BiasField(coefficients=drawn.tolist(), order=self.order)
