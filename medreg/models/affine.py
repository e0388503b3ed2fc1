"""Affine registration of a batch of pairs by any similarity, with an optional second stage by another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from medreg.geometry.transformation import Transformation
from medreg.inference.descent import Minimiser
from medreg.inference.instance import Settings, optimise_pair
from medreg.inference.level import Level, checked_levels
from medreg.inference.progress import Callback
from medreg.losses.energy import Energy
from medreg.losses.regularisation.none import NoRegularisation
from medreg.losses.similarity.base import Similarity
from medreg.models.base import Registration, RegistrationModel, check_pair


@dataclass(frozen=True)
class Refinement:
    """A second stage that begins where the first ended.

    Attributes:
        similarity: D of this stage.
        levels: those of `AffineRegistration`.
    """

    similarity: Similarity
    levels: Sequence[Level | Mapping[str, Any]]


class AffineRegistration(RegistrationModel):
    """p* = argmin_p D(F, M∘T_p) by descent from the identity, coarse to fine, the best iterate kept.

    All pairs of a batch run at once and do not see one another. MAD (arXiv 2309.02875) and
    the measures that it is compared with differ in similarity and levels only.

    Args:
        similarity: D.
        transformation: map from θ to displacement; `AffinePose` bounds θ to a box.
        levels: shrink, sigma, iterations, learning_rate of each level, coarse to fine; see `Level`.
        minimiser: rule of the updates that lower D.
        refine: a second stage with another similarity, or None.
        padding: value outside the moving image: border or zeros.
        tolerance: relative decrease over ten updates below which a level ends; 0 = never.

    Raises:
        ConfigError: no levels, or a level with impossible values.
    """

    trainable: ClassVar[bool] = False

    def __init__(
        self,
        similarity: Similarity,
        transformation: Transformation,
        *,
        levels: Sequence[Level | Mapping[str, Any]],
        minimiser: Minimiser,
        refine: Refinement | None,
        padding: str,
        tolerance: float,
    ) -> None:
        super().__init__()
        self.transformation = transformation
        stages = [(similarity, levels)] + ([] if refine is None else [(refine.similarity, refine.levels)])
        self.energies = nn.ModuleList(
            Energy(
                measure,
                NoRegularisation(weight=0.0),
                padding="zeros" if padding == "zeros" else "border",
            )
            for measure, _ in stages
        )
        self.stages = tuple(
            Settings(minimiser, checked_levels(levels), smoothing=0.0, tolerance=tolerance)
            for _, levels in stages
        )
        self.settings = self.stages[0]

    def forward(
        self,
        fixed: Tensor,
        moving: Tensor,
        *,
        spacing_mm: Tensor | None = None,
        fixed_mask: Tensor | None = None,
        moving_mask: Tensor | None = None,
        callback: Callback | None = None,
    ) -> Registration:
        """Register each pair of the batch; `parameters` is θ of the transformation, `steps` what each stage found.

        Args:
            fixed: (B, C, *S).
            moving: (B, C, *S).
            spacing_mm: (B, D) or (D,) mm.
            fixed_mask: (B, 1, *S) where to compare.
            moving_mask: (B, 1, *S) where to compare, on the moving image.
            callback: told about every evaluation, of each stage.
        """
        check_pair(fixed, moving)
        found: Registration | None = None
        steps: list[Tensor] = []
        for energy, settings in zip(self.energies, self.stages, strict=True):
            assert isinstance(energy, Energy)
            found = optimise_pair(
                energy,
                self.transformation,
                fixed,
                moving,
                settings=settings,
                spacing_mm=spacing_mm,
                fixed_mask=fixed_mask,
                moving_mask=moving_mask,
                callback=callback,
                start=None if found is None else found.parameters,
            )
            steps.append(found.displacement)
        assert found is not None
        return Registration(found.displacement, found.regularised, found.parameters, tuple(steps))

    def extra_repr(self) -> str:
        """Levels of every stage."""
        return "levels=" + ", ".join(
            "-".join(f"{level.shrink:g}" for level in stage.levels) for stage in self.stages
        )
