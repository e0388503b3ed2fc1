"""Instance optimisation as a registration model: no network, the energy is minimised for every pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medreg.geometry.transformation import Transformation
from medreg.geometry.warp import Padding
from medreg.inference.descent import Minimiser
from medreg.inference.instance import Settings, optimise_pair
from medreg.inference.level import Level, LevelImages, checked_levels
from medreg.inference.progress import Callback
from medreg.inference.registration import Registration
from medreg.losses.energy import Energy
from medreg.losses.regularisation.base import Regulariser
from medreg.losses.similarity.base import Similarity
from medreg.models.solver import Solver


class InstanceOptimisation(Solver):
    """Classical registration, or the refinement of another model's answer.

    Minimises w·D(F, M∘φ_θ) + R(φ_θ) over θ from the identity, or from an `initial` displacement with which
    the update is composed; see `medreg.inference.instance.optimise_pair`.

    Args:
        similarity: D, with its weight.
        transformation: map from θ to displacement.
        regularisation: R, with its weight λ.
        levels: shrink, sigma, iterations, learning_rate of each level, coarse to fine; see `Level`.
        minimiser: rule of the updates that lower the energy.
        smoothing: σ of the Gaussian that smooths update fields, voxels of the level.
        tolerance: relative decrease over ten updates below which a level ends; 0 = never.
        padding: value outside the moving image: border or zeros.

    Raises:
        ConfigError: no levels, or a level with impossible values.
    """

    def __init__(
        self,
        similarity: Similarity,
        transformation: Transformation,
        *,
        regularisation: Regulariser,
        levels: Sequence[Level | Mapping[str, Any]],
        minimiser: Minimiser,
        smoothing: float,
        tolerance: float,
        padding: Padding = "border",
    ) -> None:
        super().__init__()
        self.energy = Energy(similarity, regularisation, padding=padding)
        self.transformation = transformation
        self.settings = Settings(minimiser, checked_levels(levels), smoothing=smoothing, tolerance=tolerance)

    @property
    def effort(self) -> tuple[int, ...]:
        """Iterations of each level."""
        return tuple(level.iterations for level in self.settings.levels)

    def solve(self, images: LevelImages, callback: Callback | None) -> Registration:
        """Minimise the energy, coarse to fine."""
        return optimise_pair(
            self.energy, self.transformation, images, settings=self.settings, callback=callback
        )

    def extra_repr(self) -> str:
        """Levels and smoothing."""
        levels = "-".join(f"{level.shrink:g}" for level in self.settings.levels)
        return f"levels={levels}, smoothing={self.settings.smoothing}, tolerance={self.settings.tolerance}"
