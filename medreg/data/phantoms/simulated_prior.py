"""Motion drawn from the prior of the model itself: exact samples of exp(−½ w Σ |∂v|²), integrated as the model does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import linalg

from medreg.errors import ConfigError, require_choice
from medreg.geometry.bspline import control_grid_shape, evaluate_bspline
from medreg.geometry.ffd import FreeFormVelocity
from medreg.geometry.svf import StationaryVelocity
from medreg.geometry.transformation import Transformation

Array = NDArray[np.float64]
On = Literal["velocity", "control_grid"]


@dataclass(frozen=True)
class AxisModes:
    """One axis of a quadratic energy: columns of `vectors` are modes of the parameters.

    Attributes:
        vectors: (n, n) V with Vᵀ G V = 1 and Vᵀ A V = diag(values), A the energy of differences, G the mass.
        values: (n,) of them; the first mode is the constant, whose value is 0.
    """

    vectors: Array
    values: Array


@lru_cache(maxsize=32)
def axis_modes(size: int, stride: int | None, on: On) -> AxisModes:
    """Modes of Σ (forward difference)² along one axis of an image, of a dense field or of the coefficients of a spline.

    On a dense field they are the cosines of DCT-II and their values 2 − 2 cos(πk/n).

    Args:
        size: voxels.
        stride: voxels between control points; None for a dense field.
        on: whether the differences are those of the velocity in the voxels or of the control points.
    """
    if stride is None:
        basis = np.eye(size)
    elif on == "control_grid":
        basis = np.eye(control_grid_shape((size,), (stride,))[0])
    else:
        (count,) = control_grid_shape((size,), (stride,))
        one_hot = torch.eye(count, dtype=torch.float64).unsqueeze(1)
        basis = evaluate_bspline(one_hot, (size,), stride)[:, 0].numpy().T
    steps = np.diff(basis, axis=0)
    values, vectors = linalg.eigh(steps.T @ steps, basis.T @ basis)
    values[0] = 0.0
    return AxisModes(vectors, values)


@dataclass(frozen=True)
class PriorMotion:
    """Stationary velocities with density exp(−½ w Σ_x Σ_k,a ((s_k/s_a) ∂_a v_k)²), N times the energy of `Diffusion`.

    The energy says nothing of a constant velocity; that is Gaussian with the stated deviation. A field is φ = exp(v) by
    the same scaling and squaring as the model's. Rough draws may fold; to leave them out would be another prior.

    Attributes:
        weight: w of the sum over voxels.
        shift_voxels: standard deviation of a constant velocity, voxels.
        stride: voxels between control points of a B-spline velocity (SVFFD); None for a velocity in every voxel (SVF).
        steps: squarings of the integration.
        regularised: "velocity" in the voxels, or differences of the "control_grid" as ir-sgmcmc has them.

    Source of the model: D. Grzech et al., MELBA 2021:016, fixed-weight prior.
    """

    weight: float
    shift_voxels: float
    stride: int | None
    steps: int
    regularised: On = "velocity"

    def __post_init__(self) -> None:
        require_choice("data.dataset.prepare.motion.regularised", self.regularised, get_args(On))
        if not (self.weight > 0 and self.shift_voxels >= 0 and self.steps >= 0):
            raise ConfigError(
                "data.dataset.prepare.motion needs weight > 0, shift_voxels ≥ 0 and steps ≥ 0, not "
                f"{self.weight}, {self.shift_voxels} and {self.steps}."
            )
        if self.stride is not None and self.stride < 2 and self.regularised == "velocity":
            raise ConfigError(
                "data.dataset.prepare.motion.stride is 1: more control points than voxels leave some without a prior. "
                "Give null for a velocity in every voxel, or 2 or more."
            )

    def transformation(self) -> Transformation:
        """Return the family of maps that the parameters belong to."""
        if self.stride is None:
            return StationaryVelocity(self.steps)
        return FreeFormVelocity(self.stride, self.steps)

    def modes(self, shape: Sequence[int]) -> list[AxisModes]:
        """Return the modes of every axis."""
        return [axis_modes(size, self.stride, self.regularised) for size in shape]

    def deviations(self, shape: Sequence[int], spacing_mm: Sequence[float]) -> Array:
        """Return (D, *grid), for each component the standard deviation of the coefficient of each mode."""
        modes, dims = self.modes(shape), len(shape)
        values = np.zeros([len(axis.values) for axis in modes])
        for axis, (mode, spacing) in enumerate(zip(modes, spacing_mm, strict=True)):
            values = values + (mode.values / spacing**2).reshape(
                [-1 if a == axis else 1 for a in range(dims)]
            )
        values.reshape(-1)[0] = 1.0
        out = np.stack([1 / np.sqrt(self.weight * spacing**2 * values) for spacing in spacing_mm])
        # the constant mode has this value in every place
        height = np.prod([mode.vectors[:, 0].mean() for mode in modes])
        out.reshape(dims, -1)[:, 0] = self.shift_voxels / abs(height)
        return out

    def parameters(
        self, shape: Sequence[int], spacing_mm: Sequence[float], normal: Callable[[tuple[int, ...]], Array]
    ) -> Array:
        """Draw θ (D, *grid), voxels.

        Args:
            shape: spatial size S.
            spacing_mm: voxel size per axis.
            normal: gives standard normal numbers of a shape.
        """
        out = self.deviations(shape, spacing_mm)
        out = out * normal(out.shape)
        for axis, mode in enumerate(self.modes(shape), start=1):
            out = np.moveaxis(np.tensordot(mode.vectors, out, axes=([1], [axis])), 0, axis)
        return out

    def draw(
        self, shape: Sequence[int], spacing_mm: Sequence[float], generator: np.random.Generator
    ) -> Array:
        """Draw a displacement (D, *S), voxels, pull direction."""
        theta = self.parameters(shape, spacing_mm, generator.standard_normal)
        deformation = self.transformation()(torch.from_numpy(theta).unsqueeze(0), tuple(shape))
        return np.asarray(deformation.displacement[0].numpy())
