"""Smooth diffeomorphic deformations of bounded energy: the flow of a coarse, smoothed velocity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from medreg.augmentation.axis_matrices import gaussian_weights, smooth_upsampling_matrix
from medreg.augmentation.direction import BoundedNorm
from medreg.augmentation.geometric import Geometric
from medreg.augmentation.member import as_axes, like, per_axis, unit
from medreg.augmentation.random_convolution import uniform
from medreg.errors import require_number, require_whole
from medreg.geometry.grid import per_component, within_grid
from medreg.geometry.separable import apply_per_axis
from medreg.geometry.short_filter import filtered_with_zeros
from medreg.geometry.svf import exponential
from medreg.geometry.warp import square


@dataclass(frozen=True, kw_only=True)
class Morph(BoundedNorm, Geometric):
    """Deformation Ψ(v) of a velocity v on a coarse grid, φ (N, D, *⌊S/stride⌋) in half-extents of the image.

    v is smoothed by a Gaussian, upsampled linearly and integrated by scaling and squaring; the displacement is smoothed
    again and clamped so that no point leaves the grid. The inverse is Ψ(−v): exact but for the last two steps, that
    is to hundredths of a voxel away from the border.

    Attributes:
        epsilon: as in `BoundedNorm`, like form and xi; norm ‖v‖₂ over components and nodes, half-extents.
        stride: voxels for each node of the coarse grid: one number or one an axis.
        steps: squarings; more are made where ε and the stride ask for it, so that ‖v/2ⁿ‖₂ ≤ ½ on the grid of the image
            (in the release for 3-D only, and by the norm of the whole batch).
        sigma: standard deviation of both Gaussians, nodes and voxels.
        radius: at which they are cut off: 3 in the code of 2021, 4 later.
        confined: whether a point that flows out of the grid is brought back in every squaring, as in the release;
            otherwise it flows on with the velocity of the border, and the last clamp folds space there.
        in_place: a defect of the release: the first step v/2ⁿ is subtracted from the displacement.
    """

    stride: int | Sequence[int]
    steps: int
    sigma: float
    radius: int
    confined: bool = True
    in_place: bool = False

    def __post_init__(self) -> None:
        BoundedNorm.__post_init__(self)
        Geometric.__post_init__(self)
        object.__setattr__(self, "stride", as_axes("morph.stride", self.stride, whole=True, low=1))
        require_whole("morph.steps", self.steps, 0)
        require_number("morph.sigma", self.sigma, above=0)
        require_whole("morph.radius", self.radius, 0)

    @classmethod
    def paper(cls, ndim: int = 2, **changes: Any) -> Morph:
        """ε 1.5, a node for 8×8 voxels (Chen et al. 2022, experiment script); the release's example grid in 3-D."""
        stride = 8 if ndim == 2 else (16, 16, 2)
        preset = cls(epsilon=1.5, form="ball", stride=stride, steps=8, sigma=1.0, radius=3, xi=0.5)
        return replace(preset, **changes)

    @classmethod
    def release(cls, ndim: int = 2, **changes: Any) -> Morph:
        """The setting of the released examples (ed5cd70): ε 1.5, a node for 16×16 voxels."""
        stride = 16 if ndim == 2 else (16, 16, 2)
        preset = cls(epsilon=1.5, form="sphere", stride=stride, steps=8, sigma=1.0, radius=4, xi=0.5)
        return replace(preset, **changes)

    def draw(self, image: Tensor, *, generator: torch.Generator) -> Tensor:
        """Uniform numbers, brought to full length."""
        direction = unit(2 * uniform(self._size(image), generator) - 1)
        return like(self.at_full_length(direction), image)

    def identity(self, image: Tensor) -> Tensor:
        """Zeros."""
        return like(image.new_zeros(self._size(image)), image)

    def displacement(self, parameters: Tensor, shape: Sequence[int]) -> Tensor:
        """Ψ(v), displacement (N, D, *S) in voxels."""
        return self._flow(self._velocity(parameters, shape))

    def inverse_displacement(self, parameters: Tensor, shape: Sequence[int]) -> Tensor:
        """Ψ(−v), displacement (N, D, *S) in voxels."""
        return self._flow(-self._velocity(parameters, shape))

    def nodes(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Size of the coarse grid for images of size S."""
        strides = per_axis("morph.stride", self.stride, len(shape))
        return tuple(max(1, size // int(step)) for size, step in zip(shape, strides, strict=True))

    def _velocity(self, parameters: Tensor, shape: Sequence[int]) -> Tensor:
        """Velocity on the grid of the image (N, D, *S), voxels."""
        nodes = self.nodes(shape)
        if tuple(parameters.shape[1:]) != (len(shape), *nodes):
            got, due = tuple(parameters.shape[1:]), (len(shape), *nodes)
            raise ValueError(f"images of size {tuple(shape)} have velocities {due}, got {got}")
        keys = [(node, size, self.sigma, self.radius) for node, size in zip(nodes, shape, strict=True)]
        half = per_component(parameters.new_tensor([(size - 1) / 2 for size in shape]), len(shape))
        return self.gain * half * apply_per_axis(parameters, keys, smooth_upsampling_matrix)

    def _flow(self, velocity: Tensor) -> Tensor:
        flow = self._integral(velocity, self._steps(velocity.shape[2:]))
        return within_grid(filtered_with_zeros(flow, gaussian_weights(self.sigma, self.radius)))

    def _integral(self, velocity: Tensor, steps: int) -> Tensor:
        """Displacement of exp(v) by scaling and squaring, and what the release does to it."""
        first = velocity / 2**steps
        if self.confined:
            flow = first
            for _ in range(steps):
                flow = square(flow, padding="border", confined=True)
        else:
            flow = exponential(velocity, steps=steps, padding="border")
        flow = flow - first if self.in_place else flow
        return within_grid(flow) if self.confined else flow

    def _steps(self, shape: Sequence[int]) -> int:
        """Squarings that keep ‖v/2ⁿ‖₂ ≤ ½ for every ‖v‖₂ ≤ ε: upsampling makes it longer by √(|S|/nodes) at most."""
        longest = self.epsilon * math.sqrt(math.prod(shape) / math.prod(self.nodes(shape)))
        return max(self.steps, math.ceil(math.log2(max(2 * longest, 1))))

    def _size(self, image: Tensor) -> tuple[int, ...]:
        return (len(image), image.ndim - 2, *self.nodes(image.shape[2:]))
