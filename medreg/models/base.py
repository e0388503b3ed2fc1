"""What every registration model answers: the abstract model and its result."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from medreg.errors import CompositionError
from medreg.geometry.transformation import Deformation


@dataclass(frozen=True)
class Registration:
    """Answer of a registration model to a batch of B pairs.

    Attributes:
        displacement: (B, D, *S) voxels of the fixed grid, pull direction.
        regularised: (B, D, *S) the field that a regulariser should see: the velocity for velocity models,
            the displacement otherwise.
        parameters: the parameters θ of the transformation model, (B, *parameter_shape(S)).
        steps: intermediate displacements, first to last, each (B, D, *S_level); empty for one-step models.
    """

    displacement: Tensor
    regularised: Tensor
    parameters: Tensor
    steps: tuple[Tensor, ...] = ()

    @property
    def deformation(self) -> Deformation:
        """The pair (displacement, regularised) that an energy takes."""
        return Deformation(displacement=self.displacement, regularised=self.regularised)


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

    def monitored(self) -> dict[str, Tensor]:
        """Scalars of the model worth a curve in training, such as step sizes, by name; none by default."""
        return {}


def check_pair(fixed: Tensor, moving: Tensor, *, ndim: int | None = None) -> tuple[int, ...]:
    """Return the spatial shape of a pair after checking that the two images can be registered.

    Args:
        fixed: (B, C, *S).
        moving: (B, C, *S).
        ndim: number of spatial dimensions the model was built for; None accepts 2 and 3.

    Raises:
        CompositionError: the images differ in shape or in dimension from what the model takes.
    """
    found = fixed.ndim - 2
    if found not in (2, 3) or (ndim is not None and found != ndim):
        wanted = f"{ndim}-D" if ndim is not None else "2-D or 3-D"
        raise CompositionError(
            f"This model takes {wanted} images (batch, channel, *space) but got a fixed image of shape "
            f"{tuple(fixed.shape)}; set model.ndim to the dimension of the data (data.ndim)."
        )
    if fixed.shape != moving.shape:
        raise CompositionError(
            f"Fixed image {tuple(fixed.shape)} and moving image {tuple(moving.shape)} differ in shape; "
            "bring the moving image to the fixed grid first (the data modules do this through the affines)."
        )
    return tuple(fixed.shape[2:])
