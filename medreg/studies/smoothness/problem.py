"""The function of λ that a search makes small: the mean objective of a group of cases."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from medreg.errors import NumericalError
from medreg.models.asking import ask
from medreg.models.chosen_smoothness import require_maps
from medreg.models.conditional import ConditionalModel, Regions, region_map
from medreg.studies.smoothness.objectives import SearchObjective

Batch = Mapping[str, Any]


@dataclass
class Effort:
    """What was spent.

    Attributes:
        evaluations: passes of one case through the network.
        gradients: of them those with a backward pass.
        cpu_seconds: CPU time of these passes, all threads.
    """

    evaluations: int = 0
    gradients: int = 0
    cpu_seconds: float = 0.0

    def add(self, other: Effort) -> None:
        """Count what was spent elsewhere too."""
        self.evaluations += other.evaluations
        self.gradients += other.gradients
        self.cpu_seconds += other.cpu_seconds


class Problem:
    """T(λ) = mean over the cases of a group of T(φ(F, M; Λ(S_F, λ))), with the network frozen (CSAIN's release).

    Args:
        model: conditional model in evaluation mode.
        cases: batches of one case each.
        objective: of one case.
        regions: groups of labels with a λ each; None searches one λ for everything.
        use_masks: whether the model is given the masks of the cases.

    Raises:
        CompositionError: regions for a model of one λ a pair.
    """

    def __init__(
        self,
        model: ConditionalModel,
        cases: Sequence[Batch],
        *,
        objective: SearchObjective,
        regions: Regions | None,
        use_masks: bool,
    ) -> None:
        if regions is not None:
            require_maps(model)
        self.model = model.requires_grad_(False)
        self.cases, self.objective, self.use_masks = list(cases), objective, use_masks
        self.regions = regions
        self.effort = Effort()
        numbers = [None if regions is None else regions.number(case["fixed_label"]) for case in cases]
        self._numbers = dict(zip(map(id, self.cases), numbers, strict=True))

    @property
    def variables(self) -> int:
        """Number K of λ that are searched."""
        return 1 if self.regions is None else self.regions.count

    def value(self, weights: Tensor) -> float:
        """Return T at λ (K,), without a gradient."""
        with torch.no_grad():
            return sum(float(self._case(case, weights)) for case in self.cases) / len(self.cases)

    def value_and_gradient(self, weights: Tensor) -> tuple[float, Tensor]:
        """Return T at λ (K,) and ∂T/∂λ (K,); the graph of one case at a time is kept."""
        total, gradient = 0.0, torch.zeros_like(weights)
        for case in self.cases:
            point = weights.detach().clone().requires_grad_(True)
            with torch.enable_grad():
                value = self._case(case, point)
                started = time.process_time()
                gradient += torch.autograd.grad(value, point)[0] / len(self.cases)
            self.effort.cpu_seconds += time.process_time() - started
            self.effort.gradients += 1
            total += float(value.detach()) / len(self.cases)
        return total, gradient

    def displacement(self, case: Batch, weights: Tensor) -> Tensor:
        """Return the answer to a case at λ (K,), (N, D, *S) voxels."""
        smoothness = self.smoothness_of(case, weights)
        return ask(self.model, case, use_masks=self.use_masks, smoothness=smoothness).displacement

    def smoothness_of(self, case: Batch, weights: Tensor) -> Tensor:
        """Return λ (K,) as the model takes it for a case: (N,) or (N, 1, *S)."""
        numbers = self._numbers[id(case)]
        if numbers is None:
            return weights[0].expand(len(case["fixed_image"]))
        return region_map(numbers, weights)

    def _case(self, case: Batch, weights: Tensor) -> Tensor:
        started = time.process_time()
        value = self.objective(case, self.displacement(case, weights))
        self.effort.evaluations += 1
        self.effort.cpu_seconds += time.process_time() - started
        if not bool(torch.isfinite(value)):
            raise NumericalError(
                f"{case['case'][0]}: the objective is {float(value.detach())} at λ = "
                f"{[round(float(number), 4) for number in weights.detach()]}; check its images for NaN."
            )
        return value
