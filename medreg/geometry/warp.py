"""Warping: the value of an image where the transformation says.

Displacements are in voxels and count along tensor axes; the normalised, last-axis-first coordinates of
torch's `grid_sample` exist in this file only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from itertools import product
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from medreg.geometry.grid import within_grid
from medreg.geometry.warp_fast import Sampling, warp_linear, warp_nearest
from medreg.geometry.warp_fast import square as square_fast
from medreg.kernels.dispatch import copyable, usable

Mode = Literal["linear", "nearest"]
Padding = Literal["border", "zeros"]
Convention = Literal["exact", "authors", "midir"]


class _Position(NamedTuple):
    """Sampling position along one axis, step·i + gain·u + offset, in voxels of the image."""

    step: float
    gain: float
    offset: float


def _exact(size: int) -> _Position:
    return _Position(1.0, 1.0, 0.0)


def _absolute(size: int) -> _Position:
    # the displacement is the position
    return _Position(0.0, 1.0, 0.0)


def _corner_grid(size: int) -> _Position:
    # displacement normalised by 2/S on a corner-aligned grid (GraDIRN's released core/transformations.py)
    return _Position(1.0, (size - 1) / size, 0.0)


def _mixed_grid(size: int) -> _Position:
    # corner-aligned grid read with align_corners=False (GraDIRN's labels, everything in midir)
    return _Position(size / max(size - 1, 1), 1.0, -0.5)


_POSITIONS: dict[tuple[str, str], Callable[[int], _Position]] = {
    ("exact", "linear"): _exact,
    ("exact", "nearest"): _exact,
    ("authors", "linear"): _corner_grid,
    ("authors", "nearest"): _mixed_grid,
    ("midir", "linear"): _mixed_grid,
    ("midir", "nearest"): _mixed_grid,
}
_PADDINGS = ("border", "zeros")


def warp(
    image: Tensor,
    displacement: Tensor,
    *,
    mode: Mode = "linear",
    padding: Padding = "border",
    convention: Convention = "exact",
) -> Tensor:
    """Image pulled back by a displacement, warped(x) = image(x + u(x)).

    Linear warping is differentiable twice in both arguments. A linear interpolant has a kink on every
    lattice point, where the derivative in u is one-sided: at u = 0 it is the forward difference, and with
    `padding="border"` zero at the outermost voxels and beyond. On a CPU compiled loops do the work if numba
    is installed (`medreg.geometry.warp_fast`). Otherwise positions carry the rounding of normalised
    coordinates: in float32 up to 1e-5 voxels at S = 160, in float64 nothing that matters.

    Args:
        image: (B, C, *S_image); S_image may differ from the size of the displacement.
        displacement: (B, D, *S), voxels; a batch of one is broadcast against the other argument.
        mode: "linear", or "nearest", which keeps the dtype and every value exactly.
        padding: outside the image, its "border" value or "zeros".
        convention: "exact": the position is x + u. "authors": the GraDIRN release, where the position is
            x + u (S−1)/S for images and, for nearest, x S/(S−1) + u − ½. "midir": the latter for both.

    Returns:
        (B, C, *S).

    Raises:
        ValueError: the shapes do not fit, or a mode, padding or convention is unknown.

    References:
        Qiu et al., Embedding Gradient-Based Optimization in Image Registration Networks, MICCAI 2022, and
        Qiu et al., Learning Diffeomorphic and Modality-invariant Registration, MIDL 2021 (released codes).
    """
    _check(image, displacement, padding)
    rule = _POSITIONS.get((convention, mode))
    if rule is None:
        raise ValueError(f"unknown mode {mode!r} or convention {convention!r} of a warp")
    if mode == "nearest":
        return _nearest(image, displacement, rule, padding)
    return _linear(image, displacement, rule, padding)


def square(
    displacement: Tensor,
    *,
    padding: Padding = "border",
    convention: Convention = "exact",
    confined: bool = False,
) -> Tensor:
    """Displacement of a warp after itself, u + u ∘ (id + u), one step of scaling and squaring.

    Args:
        displacement: u (B, D, *S), voxels.
        padding: u outside the grid, its "border" value or "zeros".
        convention: that of `warp`.
        confined: whether the first step is shortened so that it ends in the grid; the second has the border value.

    Returns:
        (B, D, *S), voxels.
    """
    rule = _POSITIONS.get((convention, "linear"))
    if rule is None or padding not in _PADDINGS or not usable(displacement):
        first = within_grid(displacement) if confined else displacement
        return first + warp(displacement, displacement, padding=padding, convention=convention)
    return square_fast(displacement, _sampling(displacement, rule, padding), confined=confined)


def warp_labels(labels: Tensor, displacement: Tensor, *, padding: Padding = "zeros") -> Tensor:
    """Label map pulled back by a displacement with the nearest label.

    Args:
        labels: (B, 1, *S_labels), any dtype; codes of any size survive.
        displacement: (B, D, *S), voxels.
        padding: outside, background 0 ("zeros") or the "border" label.

    Returns:
        (B, 1, *S), dtype of the labels.
    """
    return warp(labels, displacement, mode="nearest", padding=padding)


def warp_points(points: Tensor, displacement: Tensor) -> Tensor:
    """Points of the fixed image carried to the moving image, p + u(p).

    The pull displacement moves points from fixed to moving: the landmark of the moving image that belongs
    to p is expected at the result. Outside the grid the field continues with its border value.

    Args:
        points: (B, N, D), voxels of the fixed grid.
        displacement: (B, D, *S), voxels.

    Returns:
        (B, N, D), voxels of the moving grid.
    """
    return points + sample(displacement, points, padding="border")


def sample(field: Tensor, points: Tensor, *, padding: Padding = "border") -> Tensor:
    """Linear interpolation of an image or field at any voxel coordinates.

    Args:
        field: (B, C, *S).
        points: (B, N, D), voxel coordinates.
        padding: outside, the "border" value or "zeros".

    Returns:
        (B, N, C).

    Raises:
        ValueError: the points have another number of dimensions than the field.
    """
    ndim = field.ndim - 2
    if points.ndim != 3 or points.shape[-1] != ndim:
        raise ValueError(f"expected points (B, N, {ndim}), got {tuple(points.shape)}")
    line = points.mT.reshape(points.shape[0], ndim, *([1] * (ndim - 1)), points.shape[1])
    _check(field, line, padding)
    return _linear(field, line, _absolute, padding).flatten(2).mT


def warp_gather(image: Tensor, positions: Tensor, *, padding: Padding = "border") -> Tensor:
    """Multilinear interpolation written with gathers, for devices whose native sampler lacks derivatives.

    Equal to the native sampler in value and first and second derivative, at 2^D gathers.

    Args:
        image: (B, C, *S_image), floating.
        positions: (B, D, *S), voxel coordinates at which to sample.
        padding: outside, the "border" value or "zeros".

    Returns:
        (B, C, *S).
    """
    sizes = image.shape[2:]
    lower, fraction = [], []
    for axis, size in enumerate(sizes):
        position = positions[:, axis]
        if padding == "border":
            inside = (position > 0) & (position < size - 1)
            position = torch.where(inside, position, position.detach().clamp(0, size - 1))
        cell = position.detach().floor()
        lower.append(cell)
        fraction.append(position - cell)
    result = None
    for corner in product((0, 1), repeat=len(sizes)):
        weight = torch.ones_like(fraction[0])
        for step, part in zip(corner, fraction, strict=True):
            weight = weight * (part if step else 1 - part)
        index, valid = _flat_index([cell + step for cell, step in zip(lower, corner, strict=True)], sizes)
        if padding == "zeros":
            weight = torch.where(valid, weight, torch.zeros_like(weight))
        term = weight.unsqueeze(1) * _gather(image, index)
        result = term if result is None else result + term
    assert result is not None
    return result


def _check(image: Tensor, displacement: Tensor, padding: str) -> None:
    ndim = displacement.ndim - 2
    if ndim not in (2, 3) or displacement.shape[1] != ndim:
        raise ValueError(f"expected a displacement (B, D, *S), D = 2 or 3, got {tuple(displacement.shape)}")
    if image.ndim != displacement.ndim:
        shapes = f"{tuple(image.shape)} and {tuple(displacement.shape)}"
        raise ValueError(f"image and displacement have different numbers of axes, {shapes}")
    if image.shape[0] != displacement.shape[0] and 1 not in (image.shape[0], displacement.shape[0]):
        raise ValueError(f"batch of {image.shape[0]} images but {displacement.shape[0]} displacements")
    if padding not in _PADDINGS:
        raise ValueError(f"unknown padding {padding!r} of a warp; choose from {', '.join(_PADDINGS)}")


def _linear(
    image: Tensor, displacement: Tensor, rule: Callable[[int], _Position], padding: Padding
) -> Tensor:
    """Compiled loops where they can run, torch operations otherwise; equal but for rounding."""
    image, displacement = _common(image, displacement)
    if usable(image, displacement):
        return warp_linear(image, displacement, _sampling(image, rule, padding))
    return _by_torch(image, displacement, rule=rule, padding=padding)


def _sampling(image: Tensor, rule: Callable[[int], _Position], padding: Padding) -> Sampling:
    lines = tuple((p.step, p.gain, p.offset) for p in (rule(size) for size in image.shape[2:]))
    return Sampling(lines, padding == "border", partial(_by_torch, rule=rule, padding=padding))


def _by_torch(
    image: Tensor, displacement: Tensor, *, rule: Callable[[int], _Position], padding: Padding
) -> Tensor:
    """The reference: torch's sampler, or gathers where that cannot be differentiated twice."""
    batch = max(image.shape[0], displacement.shape[0])
    image = image.expand(batch, *image.shape[1:])
    displacement = displacement.expand(batch, *displacement.shape[1:])
    if not _differentiates_twice(image.device.type, displacement.shape[1]):
        return warp_gather(image, _positions(displacement, image.shape[2:], rule), padding=padding)
    base, scale, align = _normalised_base(
        tuple(image.shape[2:]), tuple(displacement.shape[2:]), rule, displacement.dtype, displacement.device
    )
    return _sample_native(image, torch.addcmul(base, displacement, scale), padding, align)


def _common(image: Tensor, displacement: Tensor) -> tuple[Tensor, Tensor]:
    """One dtype of at least float32 (half precision cannot address voxels)."""
    dtype = torch.promote_types(torch.promote_types(image.dtype, displacement.dtype), torch.float32)
    return image.to(dtype), displacement.to(dtype)


def _sample_native(image: Tensor, grid: Tensor, padding: Padding, align: bool) -> Tensor:
    """Sample at normalised coordinates (B, D, *S) whose component k belongs to tensor axis k."""
    # grid_sample reads the last image axis first. The grid stays channels-first in memory: an interleaved
    # copy, or a transposed image instead of the flip, costs up to three times as much with backward.
    grid = grid.flip(1).movedim(1, -1)
    return F.grid_sample(image, grid, mode="bilinear", padding_mode=padding, align_corners=align)


@lru_cache(maxsize=8)
def _normalised_base(
    sizes: tuple[int, ...],
    shape: tuple[int, ...],
    rule: Callable[[int], _Position],
    dtype: torch.dtype,
    device: torch.device,
) -> tuple[Tensor, Tensor, bool]:
    """Normalised coordinates of the undisplaced grid (1, D, *S) and the factor of the displacement."""
    # An axis of one voxel has no corner-aligned normalisation
    align = min(sizes) > 1
    with torch.inference_mode(False), torch.no_grad():
        axes, factors = [], []
        for size, length in zip(sizes, shape, strict=True):
            position = rule(size)
            start = torch.arange(length, dtype=torch.float64) * position.step + position.offset
            span, shift = (size - 1, 0.0) if align else (size, 1.0)
            nominal = (2 * start + shift) / span - 1
            axes.append(_at_or_above(nominal, start, span, dtype) if align else nominal.to(dtype))
            factors.append(2 * position.gain / span)
        base = torch.stack(torch.meshgrid(*axes, indexing="ij")).unsqueeze(0).to(device)
        scale = torch.tensor(factors, dtype=dtype, device=device).reshape(1, -1, *([1] * len(sizes)))
    return base, scale, align


def _at_or_above(nominal: Tensor, target: Tensor, span: int, dtype: torch.dtype) -> Tensor:
    """Normalised coordinates that grid_sample reads as the target, or the next position above it.

    The sampler undoes the normalisation in floating point, (g + 1)·(S − 1)/2. Rounded naively, some lattice
    points fall just below themselves and their derivative becomes a backward difference. Choosing among the
    neighbours of g makes it a forward difference everywhere.
    """
    steps = torch.arange(-4, 5, dtype=torch.float64).unsqueeze(1) * (torch.finfo(dtype).eps / 2)
    candidates = (nominal + steps).to(dtype)
    miss = (candidates + 1) * (span / 2) - target.to(dtype)
    best = torch.where(miss < 0, torch.inf, miss).argmin(0, keepdim=True)
    return candidates.gather(0, best).squeeze(0)


def _positions(displacement: Tensor, sizes: Sequence[int], rule: Callable[[int], _Position]) -> Tensor:
    """Sampling positions (B, D, *S) in voxels of the image."""
    parts = []
    for axis, (size, length) in enumerate(zip(sizes, displacement.shape[2:], strict=True)):
        position = rule(size)
        view = [1] * (displacement.ndim - 1)
        view[1 + axis] = length
        steps = torch.arange(length, dtype=displacement.dtype, device=displacement.device).reshape(view)
        parts.append(displacement[:, axis] * position.gain + (steps * position.step + position.offset))
    return torch.stack(parts, 1)


def _nearest(
    image: Tensor, displacement: Tensor, rule: Callable[[int], _Position], padding: Padding
) -> Tensor:
    """Gather by rounded position: exact for every dtype and every value."""
    batch = max(image.shape[0], displacement.shape[0])
    field = displacement.detach().to(torch.promote_types(displacement.dtype, torch.float32))
    constant = not (image.requires_grad and torch.is_grad_enabled())
    if usable(field) and constant and copyable(image):
        return warp_nearest(image, field, _sampling(image, rule, padding))
    # not-a-number counts as outside, so that an index can never leave the array
    positions = _positions(field, image.shape[2:], rule).nan_to_num_(nan=-1.0).round_()
    positions = positions.expand(batch, *positions.shape[1:])
    index, valid = _flat_index(list(positions.unbind(1)), image.shape[2:])
    values = _gather(image.expand(batch, *image.shape[1:]), index)
    return values if padding == "border" else values.masked_fill(~valid.unsqueeze(1), 0)


def _flat_index(positions: list[Tensor], sizes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Index into the flattened image of whole-numbered positions, and whether they lie inside it."""
    index = torch.zeros((), dtype=torch.int64, device=positions[0].device)
    valid = torch.ones((), dtype=torch.bool, device=positions[0].device)
    for position, size in zip(positions, sizes, strict=True):
        inside = position.clamp(0, size - 1)
        valid = valid & (inside == position)
        index = index * size + inside.to(torch.int64)
    return index, valid


def _gather(image: Tensor, index: Tensor) -> Tensor:
    flat = index.flatten(1).unsqueeze(1).expand(-1, image.shape[1], -1)
    return image.flatten(2).gather(2, flat).unflatten(2, index.shape[1:])


@lru_cache(maxsize=8)
def _differentiates_twice(device_type: str, ndim: int) -> bool:
    """Whether this device's sampler supports double backward (torch 2.13 does on CPU and CUDA)."""
    try:
        with torch.inference_mode(False), torch.enable_grad():
            image = torch.ones(1, 1, *([2] * ndim), device=device_type, requires_grad=True)
            grid = torch.zeros(1, ndim, *([1] * ndim), device=device_type, requires_grad=True)
            value = _sample_native(image, grid, "border", True).sum()
            (slope,) = torch.autograd.grad(value, grid, create_graph=True)
            torch.autograd.grad(slope.sum(), image)
    except RuntimeError:
        return False
    return True
