"""Affine registration of a batch of pairs by any similarity, with an optional second stage by another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from medreg.geometry.transformation import Transformation
from medreg.geometry.warp import Padding
from medreg.inference.descent import Minimiser
from medreg.inference.instance import Settings, optimise_pair
from medreg.inference.level import Level, LevelImages, checked_levels
from medreg.inference.progress import Callback
from medreg.inference.registration import Registration
from medreg.losses.energy import Energy
from medreg.losses.regularisation.none import NoRegularisation
from medreg.losses.similarity.base import Similarity
from medreg.models.solver import Solver


@dataclass(frozen=True)
class Refinement:
    """A second stage that begins where the first ended.

    Attributes:
        similarity: D of this stage.
        levels: those of `AffineRegistration`.
    """

    similarity: Similarity
    levels: Sequence[Level | Mapping[str, Any]]


class AffineRegistration(Solver):
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

    def __init__(
        self,
        similarity: Similarity,
        transformation: Transformation,
        *,
        levels: Sequence[Level | Mapping[str, Any]],
        minimiser: Minimiser,
        refine: Refinement | None,
        padding: Padding,
        tolerance: float,
    ) -> None:
        super().__init__()
        self.transformation = transformation
        stages = [(similarity, levels)] + ([] if refine is None else [(refine.similarity, refine.levels)])
        self.energies = nn.ModuleList(
            Energy(
                measure,
                NoRegularisation(weight=0.0),
                padding=padding,
            )
            for measure, _ in stages
        )
        self.stages = tuple(
            Settings(minimiser, checked_levels(levels), smoothing=0.0, tolerance=tolerance)
            for _, levels in stages
        )
        self.settings = self.stages[0]

    def solve(self, images: LevelImages, callback: Callback | None) -> Registration:
        """Run the stages; `parameters` is θ of the transformation, `steps` what each stage found."""
        found: Registration | None = None
        steps: list[Tensor] = []
        for energy, settings in zip(self.energies, self.stages, strict=True):
            assert isinstance(energy, Energy)
            start = None if found is None else found.parameters
            found = optimise_pair(
                energy, self.transformation, images, settings=settings, callback=callback, start=start
            )
            steps.append(found.displacement)
        assert found is not None
        return replace(found, steps=tuple(steps))

    def extra_repr(self) -> str:
        """Levels of every stage."""
        return "levels=" + ", ".join(
            "-".join(f"{level.shrink:g}" for level in stage.levels) for stage in self.stages
        )
