"""Images, fields and label maps that every contender of a measurement is given."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from experiments.performance.sizes import Size
from medreg.geometry.bspline import control_grid_shape
from medreg.geometry.warp import warp_labels

_RADIUS = 0.85  # of the labelled ellipsoid, in half sizes of the image
_FOLDING = 0.06  # standard deviation of the displacement of surfaces, in half sizes


@dataclass(frozen=True)
class Inputs:
    """Made on demand, the same for the same arguments.

    Attributes:
        size: batch and shape.
        device: where the tensors live.
        window: width of the LNCC window, voxels.
        bins: of the joint histogram of mutual information, per image.
        stride: spacing of the control points, voxels.
        squarings: of a velocity.
        labels: structures of a label map.
        amplitude: standard deviation of a displacement, voxels.
    """

    size: Size
    device: str = "cpu"
    window: int = 9
    bins: int = 32
    stride: int = 8
    squarings: int = 7
    labels: int = 35
    amplitude: float = 2.0

    @cached_property
    def fixed(self) -> Tensor:
        """(B, 1, *S) smooth structures and noise, in [0, 1]."""
        return self._image(noise_seed=1)

    @cached_property
    def moving(self) -> Tensor:
        """(B, 1, *S) the structures of the fixed image with noise of its own."""
        return self._image(noise_seed=2)

    @cached_property
    def displacement(self) -> Tensor:
        """(B, D, *S) smooth field, voxels."""
        return self.amplitude * self._smooth(self.size.ndim, seed=3, scale=16)

    @cached_property
    def cotangent(self) -> Tensor:
        """(B, D, *S) values with which a field is differentiated."""
        return self._noise((self.size.batch, self.size.ndim, *self.size.shape), seed=4)

    @cached_property
    def control_points(self) -> Tensor:
        """(B, D, *control grid), voxels."""
        grid = control_grid_shape(self.size.shape, self.stride)
        return self._noise((self.size.batch, self.size.ndim, *grid), seed=5)

    @cached_property
    def fixed_labels(self) -> Tensor:
        """(1, 1, *S) int16: an ellipsoid filled with structures 1…labels of folded surface, 0 around it."""
        ranges = [torch.linspace(-1, 1, side) for side in self.size.shape]
        place = torch.stack(torch.meshgrid(*ranges, indexing="ij"))
        inside = place.square().sum(0) < _RADIUS**2
        place = place + _FOLDING * self._smooth(self.size.ndim, seed=6, scale=12)[0].cpu()
        nearest = torch.full(self.size.shape, torch.inf)
        labels = torch.zeros(self.size.shape, dtype=torch.int16)
        for code, centre in enumerate(self._centres(), start=1):
            distance = (place - centre.view(-1, *[1] * self.size.ndim)).square().sum(0)
            labels[distance < nearest] = code
            nearest = torch.minimum(nearest, distance)
        return (labels * inside).to(self.device)[None, None]

    @cached_property
    def warped_labels(self) -> Tensor:
        """(1, 1, *S) int16: the fixed labels, moved by a voxel or two."""
        return warp_labels(self.fixed_labels, self.displacement[:1])

    def _centres(self) -> Tensor:
        """(labels, D) points spread evenly over the ellipsoid."""
        points = 2 * torch.quasirandom.SobolEngine(self.size.ndim).draw(8 * self.labels) - 1
        return points[points.square().sum(1) < (0.9 * _RADIUS) ** 2][: self.labels]

    def _image(self, *, noise_seed: int) -> Tensor:
        noise = self._noise((self.size.batch, 1, *self.size.shape), seed=noise_seed)
        return (0.5 + 0.2 * self._smooth(1, seed=0, scale=8) + 0.05 * noise).clamp(0, 1)

    def _smooth(self, channels: int, *, seed: int, scale: int) -> Tensor:
        coarse = [max(4, side // scale) for side in self.size.shape]
        noise = self._noise((self.size.batch, channels, *coarse), seed=seed)
        mode = {2: "bilinear", 3: "trilinear"}[self.size.ndim]
        return F.interpolate(noise, size=self.size.shape, mode=mode, align_corners=True).contiguous()

    def _noise(self, shape: tuple[int, ...], *, seed: int) -> Tensor:
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(self.device)
