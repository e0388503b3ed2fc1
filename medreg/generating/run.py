"""A trained run that knows hearts: opened safely once, then asked for hearts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from medreg.generating.ageing import plan_ageing
from medreg.generating.asked import Given
from medreg.generating.completing import plan_completion
from medreg.generating.drawn import plan_generation
from medreg.generating.opened import OpenedModel
from medreg.generating.result import Hearts
from medreg.generating.source import Sources
from medreg.registering.pair import Source


@dataclass(frozen=True, eq=False)
class GenerationRun(OpenedModel):
    """A run that makes hearts, made by `GenerationRun.open`; what it holds: see `OpenedModel`."""

    def generate(self, conditions: Given, *, n: int = 1, seed: int = 1) -> Hearts:
        """Return hearts of new people; see `medreg.api.generate`."""
        return Hearts.of(plan_generation(self, conditions, n=n, seed=seed))

    def complete(
        self,
        source: Source,
        conditions: Given,
        *,
        samples: int = 0,
        seed: int = 1,
        labels: Mapping[str, int] | None = None,
        frame: int | None = None,
        grid: str = "file",
    ) -> Hearts:
        """Return the cycle of a heart of which ED is known; see `medreg.api.complete`."""
        options: dict[str, Any] = {"labels": labels, "frame": frame, "grid": grid}
        return Hearts.of(plan_completion(self, source, conditions, samples=samples, seed=seed, **options))

    def age(
        self,
        source: Sources,
        conditions: Given,
        *,
        from_age: float,
        to_age: float,
        steps: int = 6,
        labels: Mapping[str, int] | None = None,
        grid: str = "file",
    ) -> Hearts:
        """Return a heart at other ages; see `medreg.api.age`."""
        ages = (from_age, to_age, steps)
        return Hearts.of(plan_ageing(self, source, conditions, ages=ages, labels=labels, grid=grid))
