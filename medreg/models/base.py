"""What every registration model promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from medreg.inference.registration import Registration


class RegistrationModel(nn.Module, ABC):
    """A map from a pair of images to a deformation of the fixed grid.

    Attributes:
        requires: keys of the batch (see the batch contract) without which the model cannot run.
        trainable: whether there are parameters that training would change.
    """

    requires: ClassVar[frozenset[str]] = frozenset({"fixed_image", "moving_image"})
    trainable: ClassVar[bool] = True

    @abstractmethod
    def forward(
        self,
        fixed: Tensor,
        moving: Tensor,
        *,
        spacing_mm: Tensor | None = None,
        fixed_mask: Tensor | None = None,
        moving_mask: Tensor | None = None,
    ) -> Registration:
        """Register each moving image to its fixed image.

        Args:
            fixed: (B, C, *S) fixed images.
            moving: (B, C, *S) moving images on the fixed grid.
            spacing_mm: (B, D) or (D,) voxel spacing of the fixed grid, mm; for models with a regulariser.
            fixed_mask: (B, 1, *S) where the fixed image may be compared; ignored by models without masks.
            moving_mask: (B, 1, *S) where the moving image may be compared; ignored likewise.
        """

    def extra_repr(self) -> str:
        """Return the number of dimensions of a model that is built for one, for printing."""
        return f"ndim={self.ndim}" if hasattr(self, "ndim") else ""

    def monitored(self) -> dict[str, Tensor]:
        """Scalars of the model worth a curve in training, such as step sizes, by name; none by default."""
        return {}
