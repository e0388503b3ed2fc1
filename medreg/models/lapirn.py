"""LapIRN: a Laplacian pyramid of networks for one fixed regularisation; what CSAIN and CIN are compared with."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from medreg.geometry.precision import at_least_single
from medreg.geometry.transformation import Transformation
from medreg.inference.registration import Registration, check_pair
from medreg.models.base import RegistrationModel
from medreg.models.blocks.conditioning import Unconditioned
from medreg.models.blocks.laplacian import ConditioningFactory, LaplacianPyramid, Upsampling


class PyramidModel(RegistrationModel):
    """A Laplacian pyramid whose finest field is given to a transformation: θ = restrict(u_L), u = T(θ).

    For a velocity transformation the levels still warp by their field as if it were a displacement; only the
    finest is integrated. Arguments as `LaplacianPyramid`, and:

    Args:
        transformation: map from the field to displacement.
    """

    def __init__(
        self,
        ndim: int,
        transformation: Transformation,
        *,
        start_channels: int,
        levels: int,
        blocks: int,
        range_flow: float,
        upsampling: Upsampling,
        last_layer_scale: float,
        conditioning: ConditioningFactory = Unconditioned,
        channels: int = 1,
    ) -> None:
        super().__init__()
        self.ndim, self.transformation = ndim, transformation
        self.network = LaplacianPyramid(
            ndim,
            start_channels,
            levels=levels,
            blocks=blocks,
            range_flow=range_flow,
            conditioning=conditioning,
            upsampling=upsampling,
            last_layer_scale=last_layer_scale,
            channels=channels,
        )

    @property
    def strides(self) -> tuple[int, ...]:
        """Voxels of the fixed grid from one voxel of a level to the next, coarse to fine."""
        return self.network.strides

    def at_levels(self, fixed: Tensor, moving: Tensor, *, weights: Sequence[Tensor]) -> Registration:
        """Register with the λ of every level given, or of the first levels only.

        Args:
            fixed: (B, C, *S).
            moving: (B, C, *S).
            weights: λ of the levels, coarse to fine, (B,) or (B, 1, *⌈S/stride⌉) each.

        Returns:
            With fields of the coarse levels as steps. With fewer weights than levels the finest field is that
            of the last level reached, in voxels of its grid.
        """
        shape = check_pair(fixed, moving, ndim=self.ndim)
        fields = self.network(fixed, moving, weights)
        shape = shape if len(fields) == len(self.strides) else tuple(fields[-1].shape[2:])
        theta = self.transformation.restrict(at_least_single(fields[-1]), shape)
        deformation = self.transformation(theta, shape)
        steps = (*fields[:-1], deformation.displacement)
        return Registration(deformation.displacement, deformation.regularised, theta, steps)


class LapIRN(PyramidModel):
    """The pyramid with plain instance normalisation, trained at one λ (Mok & Chung, MICCAI 2020).

    The displacement form with the widths of cLapIRN, so that nothing but the conditioning differs. Arguments as
    `PyramidModel`, without the conditioning.
    """

    def forward(
        self,
        fixed: Tensor,
        moving: Tensor,
        *,
        spacing_mm: Tensor | None = None,
        fixed_mask: Tensor | None = None,
        moving_mask: Tensor | None = None,
    ) -> Registration:
        """Predict the deformation; spacing and masks are not seen by the network."""
        return self.at_levels(fixed, moving, weights=[fixed.new_zeros(len(fixed))] * len(self.strides))
