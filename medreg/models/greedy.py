"""Instance optimisation by composing small smooth warps, as a registration model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from medreg.errors import ConfigError
from medreg.inference.accumulation import Accumulation
from medreg.inference.directions import Direction
from medreg.inference.greedy import GreedySettings, greedy_pair
from medreg.inference.level import Level, checked_levels
from medreg.inference.progress import Callback
from medreg.losses.energy import Energy
from medreg.losses.regularisation.base import Regulariser
from medreg.losses.similarity.base import Similarity
from medreg.models.base import Registration, RegistrationModel, check_pair


class Greedy(RegistrationModel):
    """Classical registration by composition, or the refinement of another model's answer.

    Lowers w·D(F, M∘φ) + R(φ) by φ ← φ ∘ (id + δ), from the identity or from an `initial` displacement; see
    `medreg.inference.greedy.greedy_pair`. The answer's `parameters` are the accumulated field.

    Args:
        similarity: D, with its weight.
        regularisation: R, with its weight λ; `NoRegularisation` where smoothing alone regularises.
        levels: shrink, sigma, iterations, learning_rate of each level, coarse to fine; see `Level`.
        direction: map from gradients to directions, see `medreg.inference.directions`.
        accumulation: rule by which updates add up, see `medreg.inference.accumulation`.
        fluid: σ of the smoothing of updates, voxels of the level.
        elastic: σ of the smoothing of the whole field after each update, voxels of the level.
        longest: greatest length of an update, voxels of the level.
        tolerance: relative decrease over ten updates below which a level ends; 0 = never.
        padding: value outside the moving image: border or zeros.

    Raises:
        ConfigError: no levels, impossible values of a level or of the smoothing.
    """

    trainable: ClassVar[bool] = False

    def __init__(
        self,
        similarity: Similarity,
        regularisation: Regulariser,
        *,
        levels: Sequence[Level | Mapping[str, Any]],
        direction: Direction,
        accumulation: Accumulation,
        fluid: float,
        elastic: float,
        longest: float,
        tolerance: float,
        padding: str = "border",
    ) -> None:
        super().__init__()
        _check(fluid, elastic, longest)
        self.energy = Energy(similarity, regularisation, padding="zeros" if padding == "zeros" else "border")
        self.settings = GreedySettings(
            direction=direction,
            accumulation=accumulation,
            levels=checked_levels(levels),
            fluid=fluid,
            elastic=elastic,
            longest=longest,
            tolerance=tolerance,
        )

    def forward(
        self,
        fixed: Tensor,
        moving: Tensor,
        *,
        spacing_mm: Tensor | None = None,
        fixed_mask: Tensor | None = None,
        moving_mask: Tensor | None = None,
        initial: Tensor | None = None,
        callback: Callback | None = None,
    ) -> Registration:
        """Register each pair of the batch.

        Args:
            fixed: (B, C, *S).
            moving: (B, C, *S).
            spacing_mm: (B, D) or (D,) mm.
            fixed_mask: (B, 1, *S) where to compare.
            moving_mask: (B, 1, *S) where to compare, on the moving image.
            initial: (B, D, *S) displacement to refine, voxels; None starts from the identity.
            callback: told about every evaluation of the energy.
        """
        check_pair(fixed, moving)
        return greedy_pair(
            self.energy,
            fixed,
            moving,
            settings=self.settings,
            initial=initial,
            spacing_mm=spacing_mm,
            fixed_mask=fixed_mask,
            moving_mask=moving_mask,
            callback=callback,
        )

    def extra_repr(self) -> str:
        """Levels and smoothing."""
        levels = "-".join(f"{level.shrink:g}" for level in self.settings.levels)
        return f"levels={levels}, fluid={self.settings.fluid}, elastic={self.settings.elastic}"


def _check(fluid: float, elastic: float, longest: float) -> None:
    if fluid < 0 or elastic < 0 or longest <= 0:
        raise ConfigError(
            f"model.fluid is {fluid}, model.elastic {elastic} and model.longest {longest} voxels; the first two "
            "must be at least 0, longest above 0."
        )
