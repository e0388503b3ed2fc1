"""Displacement fields as maps: composition, inversion and change of grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from medreg.geometry.warp import warp

Gain = Literal["exact", "authors"]
ResizeMode = Literal["linear", "nearest"]


def compose(outer: Tensor, inner: Tensor) -> Tensor:
    """Displacement of two warps after one another, first that by u, then that by v.

    The result w(x) = v(x) + u(x + v(x)) is the displacement of φ_u ∘ φ_v, so that
    warp(warp(M, u), v) = warp(M, w). Outside the grid u
    continues with its border value.

    Args:
        outer: u (B, D, *S), voxels: the warp applied to the moving image first.
        inner: v (B, D, *S), voxels: the warp applied to the result.

    Returns:
        (B, D, *S), voxels.
    """
    return inner + warp(outer, inner, padding="border")


@dataclass(frozen=True, eq=False)
class Inverse:
    """An inverse displacement and how far it is from being one.

    Attributes:
        displacement: (B, D, *S), voxels, v with v(x) + u(x + v(x)) ≈ 0.
        residual_voxels_max: largest |v(x) + u(x + v(x))|, voxels.
        residual_voxels_mean: mean of the same.
        iterations: updates made.
    """

    displacement: Tensor
    residual_voxels_max: float
    residual_voxels_mean: float
    iterations: int


def invert(displacement: Tensor, *, iterations: int = 50, tolerance: float = 1e-3) -> Inverse:
    """Inverse of φ = id + u by damped fixed-point iteration, v ← v − s (v + u(x + v)).

    The step s of a sample starts at 1 and halves whenever its mean residual grows, which lets the iteration
    converge where |∂u| > 1 as well. A folded transformation has no inverse: the residual then says so.

    Args:
        displacement: u (B, D, *S), voxels.
        iterations: upper bound on the number of updates.
        tolerance: stop when the largest residual is below, voxels.

    Returns:
        The inverse and its residual.

    References:
        Chen et al., A simple fixed-point approach to invert a deformation field, Medical Physics 2008.
    """
    batch = displacement.shape[0]
    inverse = -displacement
    step = displacement.new_ones(batch, *([1] * (displacement.ndim - 1)))
    previous = torch.full_like(step, torch.inf)
    residual = compose(displacement, inverse)
    done = 0
    while done < iterations and _length(residual).max().item() > tolerance:
        mean = _length(residual).flatten(1).mean(1).reshape(step.shape)
        step = torch.where(mean > previous, step * 0.5, step)
        previous = mean
        inverse = inverse - step * residual
        residual = compose(displacement, inverse)
        done += 1
    length = _length(residual)
    return Inverse(inverse, float(length.max()), float(length.mean()), done)


def resize(image: Tensor, shape: Sequence[int], *, mode: ResizeMode = "linear") -> Tensor:
    """Image on a grid of another size whose corner voxels coincide with the old ones.

    Args:
        image: (B, C, *S); integers need mode "nearest".
        shape: new spatial size.
        mode: "linear" (no smoothing before a reduction), or "nearest", which keeps every dtype and value.

    Returns:
        (B, C, *shape).

    Raises:
        ValueError: unknown mode.
    """
    if mode not in ("linear", "nearest"):
        raise ValueError(f"unknown resize mode {mode!r}; choose from linear, nearest")
    old, new = tuple(image.shape[2:]), tuple(int(size) for size in shape)
    if old == new:
        return image
    if mode == "linear":
        kind = {2: "bilinear", 3: "trilinear"}[len(new)]
        return F.interpolate(image, size=new, mode=kind, align_corners=True)
    for axis, (before, after) in enumerate(zip(old, new, strict=True)):
        ratio = (before - 1) / (after - 1) if after > 1 else 0.0
        index = (torch.arange(after, dtype=torch.float64) * ratio).round().long().to(image.device)
        image = image.index_select(2 + axis, index)
    return image


def resize_displacement(displacement: Tensor, shape: Sequence[int], *, gain: Gain = "exact") -> Tensor:
    """Displacement on a grid of another size, its lengths turned into voxels of the new grid.

    Args:
        displacement: (B, D, *S), voxels of its grid.
        shape: new spatial size S'.
        gain: "exact": component k grows by (S'_k − 1)/(S_k − 1), which belongs to grids with common corners;
            "authors": by S'_k/S_k, the factor 2 of GraDIRN's released core/networks.py.

    Returns:
        (B, D, *shape), voxels of the new grid.
    """
    gains = resize_gain(displacement.shape[2:], shape, gain=gain)
    view = (1, -1, *([1] * len(gains)))
    scale = torch.tensor(gains, dtype=displacement.dtype, device=displacement.device).reshape(view)
    return resize(displacement, shape) * scale


def resize_gain(old: Sequence[int], new: Sequence[int], *, gain: Gain = "exact") -> tuple[float, ...]:
    """Voxels of the new grid per voxel of the old one along each axis (1 where either has one voxel).

    Args:
        old: spatial size S.
        new: spatial size S'.
        gain: "exact" (S' − 1)/(S − 1) or "authors" S'/S.

    Returns:
        One factor per axis.

    Raises:
        ValueError: unknown gain.
    """
    margins = {"exact": 1, "authors": 0}
    if gain not in margins:
        raise ValueError(f"unknown gain {gain!r}; choose from {', '.join(margins)}")
    margin = margins[gain]
    pairs = zip(old, new, strict=True)
    return tuple((b - margin) / (a - margin) if min(a, b) > margin else 1.0 for a, b in pairs)


def pyramid_shapes(shape: Sequence[int], levels: int) -> list[tuple[int, ...]]:
    """Grid sizes of an image pyramid, coarsest first, each level half of the next, rounded up.

    Args:
        shape: full spatial size.
        levels: number of levels, at least 1.

    Returns:
        `levels` sizes, the last one being `shape`.

    Raises:
        ValueError: fewer than one level.
    """
    if levels < 1:
        raise ValueError(f"a pyramid needs at least one level, got {levels}")
    return [tuple(-(-int(size) // 2**level) for size in shape) for level in reversed(range(levels))]


def _length(field: Tensor) -> Tensor:
    return field.detach().square().sum(1).sqrt()
