"""Instance optimisation as a registration model: no network, the energy is minimised for every pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from medreg.geometry.transformation import Transformation
from medreg.inference.descent import Minimiser
from medreg.inference.instance import Settings, optimise_pair
from medreg.inference.level import Level, checked_levels
from medreg.inference.progress import Callback
from medreg.losses.energy import Energy
from medreg.losses.regularisation.base import Regulariser
from medreg.losses.similarity.base import Similarity
from medreg.models.base import Registration, RegistrationModel, check_pair


class InstanceOptimisation(RegistrationModel):
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

    trainable: ClassVar[bool] = False

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
        padding: str = "border",
    ) -> None:
        super().__init__()
        self.energy = Energy(similarity, regularisation, padding="zeros" if padding == "zeros" else "border")
        self.transformation = transformation
        self.settings = Settings(minimiser, checked_levels(levels), smoothing=smoothing, tolerance=tolerance)

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
        return optimise_pair(
            self.energy,
            self.transformation,
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
        return f"levels={levels}, smoothing={self.settings.smoothing}, tolerance={self.settings.tolerance}"
