"""All metrics of hearts: of one case as rows of the results table, and of all cases together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from medreg.metrics.hearts.measures import STRUCTURES, curves_of, measures_of, septal_angle_deg
from medreg.metrics.hearts.pooling import Pooling
from medreg.metrics.rows import MetricRow

if TYPE_CHECKING:
    import pandas as pd

Shape = Tensor | NDArray[np.uint8]


class HeartEvaluator:
    """What is measured of hearts.

    Args:
        labels: structure → code of the data, in the order of the places in a shape; None: not known before the data
            are read.
        phases: "cycle": the frames are a cycle, ES is where the left ventricle is smallest; "edes": ED and ES.
        surface: whether HD and ASSD of the mean prediction are measured.
        surface_of_samples: whether those of drawn hearts are, the slowest part.
        lost: "exclude": a structure that the prediction lacks has no distance and is counted; "released": it gets
            11.5 and 3.5 mm, as in the code of AgeHeart.
        pooling: what is done with all hearts together.
    """

    def __init__(
        self,
        labels: Mapping[str, int] | None,
        *,
        phases: Literal["cycle", "edes"],
        surface: bool,
        surface_of_samples: bool,
        lost: Literal["exclude", "released"],
        pooling: Pooling,
    ) -> None:
        self.labels = {str(name): int(code) for name, code in (labels or {}).items()}
        self.phases = phases
        self.surface, self.surface_of_samples, self.lost = surface, surface_of_samples, lost
        self.pooling = pooling

    @property
    def places(self) -> dict[str, int]:
        """Structure → its place in a shape, from 1; those of CHeart where the data are not known yet."""
        return {name: place for place, name in enumerate(self.labels or STRUCTURES, start=1)}

    def measures(
        self, shape: Shape, spacing_mm: Sequence[float], phases: str | None = None
    ) -> dict[str, float]:
        """Return the measures of one heart, those of `measures.MEASURES` and `measures.FURTHER`.

        Args:
            shape: (T, X, Y, Z) uint8.
            spacing_mm: along X, Y and Z.
            phases: other than those of the evaluator.
        """
        found = measures_of(curves_of(shape, spacing_mm, self.places), phases or self.phases)
        return {**found, "septal_angle_deg": septal_angle_deg(shape, spacing_mm, self.places)}

    def completion(self, truth: Shape, found: Shape, spacing_mm: Sequence[float]) -> list[MetricRow]:
        """Return rows of a predicted heart against the true one.

        Args:
            truth: (T, X, Y, Z) uint8.
            found: (T, X, Y, Z) uint8.
            spacing_mm: along X, Y and Z.
        """
        raise NotImplementedError

    def agreement(self, truth: Shape, samples: Shape, spacing_mm: Sequence[float]) -> list[MetricRow]:
        """Return rows of several drawn hearts against the true one: mean, SD, best and worst over the samples.

        Args:
            truth: (T, X, Y, Z) uint8.
            samples: (N, T, X, Y, Z) uint8.
            spacing_mm: along X, Y and Z.
        """
        raise NotImplementedError

    def pooled_rows(self, frame: pd.DataFrame) -> list[MetricRow]:
        """Return rows of all hearts together, see `population.pooled_rows`."""
        raise NotImplementedError
