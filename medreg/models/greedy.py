"""Instance optimisation by composing small smooth warps, as a registration model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medreg.errors import ConfigError
from medreg.geometry.warp import Padding
from medreg.inference.accumulation import Accumulation
from medreg.inference.directions import Direction
from medreg.inference.greedy import GreedySettings, greedy_pair
from medreg.inference.level import Level, LevelImages, checked_levels
from medreg.inference.progress import Callback
from medreg.inference.registration import Registration
from medreg.losses.energy import Energy
from medreg.losses.regularisation.base import Regulariser
from medreg.losses.similarity.base import Similarity
from medreg.models.solver import Solver


class Greedy(Solver):
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
        padding: Padding = "border",
    ) -> None:
        super().__init__()
        _check(fluid, elastic, longest)
        self.energy = Energy(similarity, regularisation, padding=padding)
        self.settings = GreedySettings(
            direction=direction,
            accumulation=accumulation,
            levels=checked_levels(levels),
            fluid=fluid,
            elastic=elastic,
            longest=longest,
            tolerance=tolerance,
        )

    @property
    def effort(self) -> tuple[int, ...]:
        """Iterations of each level."""
        return tuple(level.iterations for level in self.settings.levels)

    def solve(self, images: LevelImages, callback: Callback | None) -> Registration:
        """Compose small warps, coarse to fine."""
        return greedy_pair(self.energy, images, settings=self.settings, callback=callback)

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
