"""What models have in common that solve for every pair instead of predicting from it."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from torch import Tensor

from medreg.geometry.precision import outside_inference_mode
from medreg.inference.level import LevelImages, full_images
from medreg.inference.progress import Callback
from medreg.inference.registration import Registration, check_pair
from medreg.models.base import RegistrationModel


class Solver(RegistrationModel):
    """Classical registration, or the refinement of another model's answer: nothing is learned."""

    trainable: ClassVar[bool] = False

    @property
    def effort(self) -> tuple[int, ...]:
        """Iterations of each level or stage that a callback is told of, the most there can be; () where unknown."""
        return ()

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

        Raises:
            NumericalError: the energy became NaN or infinite.
        """
        check_pair(fixed, moving)

        def solve(*tensors: Tensor | None) -> Registration:
            return self.solve(full_images(*tensors), callback)  # type: ignore[arg-type]

        return outside_inference_mode(solve, fixed, moving, spacing_mm, fixed_mask, moving_mask, initial)

    @abstractmethod
    def solve(self, images: LevelImages, callback: Callback | None) -> Registration:
        """Register the pairs of a batch on their own grid, from the identity or from their initial displacement."""
