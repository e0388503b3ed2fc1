"""What every registration answers, whoever solves it, and what it asks of a pair of images."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from medreg.errors import CompositionError
from medreg.geometry.transformation import Deformation
from medreg.inference.sampling.account import Account


@dataclass(frozen=True)
class Registration:
    """Answer of a registration model to a batch of B pairs.

    Attributes:
        displacement: (B, D, *S) voxels of the fixed grid, pull direction.
        regularised: (B, D, *S) the field that a regulariser should see: the velocity for velocity models,
            the displacement otherwise.
        parameters: θ of the transformation model, (B, *parameter_shape(S)).
        steps: intermediate displacements, first to last, each (B, D, *S_level); empty for one-step models.
        samples: (K, B, D, *S) displacements drawn from a posterior, voxels, those of all chains one after the
            other; None for models that give one answer. `displacement` then is the one to use where a single
            answer is wanted, such as the most probable one.
        divergence: (B,) term of the training loss that is the model's own, with its weight, such as the divergence of
            its distribution from a prior; None for models without one.
        sampling: how the samples came about, for models that explore a posterior, see `Account`.
    """

    displacement: Tensor
    regularised: Tensor
    parameters: Tensor
    steps: tuple[Tensor, ...] = ()
    samples: Tensor | None = None
    divergence: Tensor | None = None
    sampling: Account | None = None

    @property
    def deformation(self) -> Deformation:
        """The pair (displacement, regularised) that an energy takes."""
        return Deformation(displacement=self.displacement, regularised=self.regularised)

    def mean(self) -> Tensor:
        """Mean of the samples, (B, D, *S), voxels.

        Raises:
            CompositionError: there are no samples.
        """
        return self._drawn(1).mean(0)

    def std(self) -> Tensor:
        """Standard deviation of every component over the samples, (B, D, *S), voxels, with K − 1 in its denominator.

        Raises:
            CompositionError: there are fewer than two samples.
        """
        return self._drawn(2).std(0)

    def _drawn(self, least: int) -> Tensor:
        count = 0 if self.samples is None else len(self.samples)
        if self.samples is None or count < least:
            raise CompositionError(
                f"This registration holds {count} samples and {least} are needed; use a model that draws from a "
                "posterior, or take the displacement."
            )
        return self.samples


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
