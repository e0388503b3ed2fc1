"""All metrics of hearts: of one case as rows of the results table, and of all cases together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from medreg.errors import ConfigError
from medreg.metrics.hearts.completion import Agreement, agreement, agreement_rows, frame_rows, measure_rows
from medreg.metrics.hearts.curves import curve_rows
from medreg.metrics.hearts.measures import (
    PHASES,
    STRUCTURES,
    as_shape,
    curves_of,
    measures_of,
    septal_angle_deg,
)
from medreg.metrics.hearts.pooling import Pooling
from medreg.metrics.hearts.population import pooled_rows
from medreg.metrics.rows import MetricRow, mean_of_numbers

if TYPE_CHECKING:
    import pandas as pd

Shape = Tensor | NDArray[np.uint8]
LOST = ("exclude", "released")
# metric of one sample → which is the best over samples; empty: none
SAMPLED = {
    "dice": "higher", "hd_mm": "lower", "assd_mm": "lower", "measure_error": "lower", "measure_bias": "",
}  # fmt: skip


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

    Raises:
        ConfigError: `phases` or `lost` is not one of its choices.
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
        for option, given, choices in (("phases", phases, PHASES), ("lost", lost, LOST)):
            if given not in choices:
                raise ConfigError(f"metrics.{option}={given!r} is not one of {', '.join(choices)}.")
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
        """Return rows of a predicted heart against the true one: overlap, distances, frames, curves, measures.

        Args:
            truth: (T, X, Y, Z) uint8.
            found: (T, X, Y, Z) uint8.
            spacing_mm: along X, Y and Z.

        Raises:
            DataError: the two differ in shape.
        """
        known, own = (curves_of(shape, spacing_mm, self.places) for shape in (truth, found))
        es = known.frames(self.phases)[0]
        agreed = self._agreed(truth, found, spacing_mm, surfaces=self.surface)
        return [
            *agreement_rows(agreed, list(self.places), es),
            *frame_rows(known, own, self.phases),
            *(curve_rows(known, own) if self.phases == "cycle" else ()),
            *measure_rows(measures_of(known, self.phases), measures_of(own, self.phases)),
        ]

    def agreement(self, truth: Shape, samples: Shape, spacing_mm: Sequence[float]) -> list[MetricRow]:
        """Return rows of several drawn hearts against the true one.

        `dice`, `hd_mm`, `assd_mm` and `measure_error` are means over the samples; `sample_sd_…`, `sample_best_…` and
        `sample_worst_…` their SD (n − 1), best and worst.

        Args:
            truth: (T, X, Y, Z) uint8.
            samples: (N, T, X, Y, Z) uint8.
            spacing_mm: along X, Y and Z.

        Raises:
            DataError: the samples differ from the true heart in shape.
        """
        known = curves_of(truth, spacing_mm, self.places)
        es, real = known.frames(self.phases)[0], measures_of(known, self.phases)
        scores: dict[tuple[str, str], list[float]] = {}
        units: dict[tuple[str, str], str] = {}
        for sample in samples:
            agreed = self._agreed(truth, sample, spacing_mm, surfaces=self.surface_of_samples)
            own = measures_of(curves_of(sample, spacing_mm, self.places), self.phases)
            found = [*agreement_rows(agreed, list(self.places), es), *measure_rows(real, own)]
            for each in found:
                scores.setdefault((each.structure, each.metric), []).append(each.value)
                units[each.structure, each.metric] = each.unit
        return [
            made
            for key, values in scores.items()
            if key[1] in SAMPLED
            for made in _over_samples(*key, values, units[key])
        ]

    def _agreed(
        self, truth: Shape, found: Shape, spacing_mm: Sequence[float], *, surfaces: bool
    ) -> Agreement:
        spacing = [float(mm) for mm in spacing_mm]
        return agreement(
            as_shape(truth), as_shape(found), spacing, len(self.places), surfaces=surfaces,
            released=self.lost == "released",
        )  # fmt: skip

    def pooled_rows(self, frame: pd.DataFrame) -> list[MetricRow]:
        """Return rows of all hearts together, see `population.pooled_rows`."""
        return pooled_rows(frame, self.pooling)


def _over_samples(structure: str, metric: str, values: list[float], unit: str) -> Iterator[MetricRow]:
    """Yield mean, SD, best and worst over samples, NaN left out; of a bias, which has no best, mean and SD."""
    yield MetricRow(structure, metric, mean_of_numbers(values), unit)
    known = [value for value in values if not math.isnan(value)]
    spread = float(np.std(known, ddof=1)) if len(known) > 1 else math.nan
    yield MetricRow(structure, f"sample_sd_{metric}", spread, unit)
    if SAMPLED[metric]:
        best, worst = (max, min) if SAMPLED[metric] == "higher" else (min, max)
        yield MetricRow(structure, f"sample_best_{metric}", best(known, default=math.nan), unit)
        yield MetricRow(structure, f"sample_worst_{metric}", worst(known, default=math.nan), unit)
