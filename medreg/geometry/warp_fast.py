"""Linear warping by compiled loops, with first and second derivatives; `medreg.geometry.warp` decides when."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from medreg.geometry.grid import within_grid
from medreg.kernels import warp as kernels
from medreg.kernels.compile import run_chunks
from medreg.kernels.dispatch import view
from medreg.kernels.nearest import nearest as kernel_nearest

# Work of one voxel of a warp beside that of one element of a simple loop
_WORK = 4
_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass(frozen=True)
class Sampling:
    """How a displacement addresses an image: one (step, gain, offset) an axis, position step·i + gain·u + offset.

    Attributes:
        lines: one for each axis of the image.
        border: the border value outside, otherwise zero.
        reference: the same warp of (image, displacement) in torch operations, for third derivatives and
            second ones in the image.
    """

    lines: tuple[tuple[float, float, float], ...]
    border: bool
    reference: Callable[[Tensor, Tensor], Tensor]


def warp_linear(image: Tensor, displacement: Tensor, sampling: Sampling) -> Tensor:
    """Image pulled back by a displacement, in compiled loops.

    Args:
        image: (B or 1, C, *S_image), one that `medreg.kernels.dispatch.usable` accepts.
        displacement: (B or 1, D, *S), likewise.
        sampling: positions and padding.

    Returns:
        (B, C, *S), differentiable twice and, through the reference, more often.
    """
    return _Warp.apply(image, displacement, sampling)


def square(displacement: Tensor, sampling: Sampling, *, confined: bool = False) -> Tensor:
    """A warp after itself, u + u ∘ (id + u), in compiled loops.

    Args:
        displacement: u (B, D, *S), one that `medreg.kernels.dispatch.usable` accepts.
        sampling: positions and padding.
        confined: whether the first u is that of `within_grid`.

    Returns:
        (B, D, *S), differentiable like `warp_linear`; the graph keeps u and nothing else.
    """
    return _Square.apply(displacement, sampling, confined)


class _Square(Function):
    @staticmethod
    def forward(ctx: Any, displacement: Tensor, sampling: Sampling, confined: bool) -> Tensor:
        ctx.save_for_backward(displacement)
        ctx.sampling, ctx.confined = sampling, confined
        out = warp_values(displacement, displacement, sampling, residual=True)
        for strip, bound, side in _rims(displacement) if confined else ():
            moves = displacement[strip]
            out[strip] += (moves.maximum(bound) if side < 0 else moves.minimum(bound)) - moves
        return out

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        (field,), sampling = ctx.saved_tensors, ctx.sampling
        if torch.is_grad_enabled():
            first = within_grid(field) if ctx.confined else field
            value = first + warp_linear(field, field, sampling)
            return torch.autograd.grad(value, field, upstream[0], create_graph=True)[0], None, None
        total = upstream[0].clone(memory_format=torch.contiguous_format)
        for strip, bound, side in _rims(field) if ctx.confined else ():
            total[strip] *= side * field[strip] <= side * bound
        warp_image_gradient(upstream[0], field, field, sampling, start=total)
        return warp_field_gradient(upstream[0], field, field, sampling, start=total), None, None


def _rims(displacement: Tensor) -> Iterator[tuple[tuple[Any, ...], Tensor, int]]:
    """Where a displacement can leave the grid: index of a strip of one component, its bound there, and the side."""
    longest = float(displacement.abs().amax())
    for axis, size in enumerate(displacement.shape[2:]):
        width = min(size, int(longest) + 1) if math.isfinite(longest) else size
        place = torch.arange(width, dtype=displacement.dtype)
        place = place.reshape(-1, *[1] * (displacement.ndim - 3 - axis))
        before = (slice(None), axis, *[slice(None)] * axis)
        yield (*before, slice(0, width)), -place, -1
        yield (*before, slice(size - width, size)), width - 1 - place, 1


class _Warp(Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor, displacement: Tensor, sampling: Sampling) -> Tensor:
        ctx.save_for_backward(image, displacement)
        ctx.sampling = sampling
        return warp_values(image, displacement, sampling)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        needed = ctx.needs_input_grad[:2]
        return *_WarpGradient.apply(upstream[0], *ctx.saved_tensors, ctx.sampling, needed), None


class _WarpGradient(Function):
    """The gradients of a warp as a function of the upstream gradient, the image and the displacement."""

    @staticmethod
    def forward(
        ctx: Any,
        upstream: Tensor,
        image: Tensor,
        displacement: Tensor,
        sampling: Sampling,
        needed: tuple[bool, bool],
    ) -> tuple[Tensor | None, Tensor | None]:
        ctx.save_for_backward(upstream, image, displacement)
        ctx.sampling, ctx.needed = sampling, needed
        ctx.set_materialize_grads(False)
        in_image = warp_image_gradient(upstream, image, displacement, sampling) if needed[0] else None
        in_field = warp_field_gradient(upstream, image, displacement, sampling) if needed[1] else None
        return in_image, in_field

    @staticmethod
    def backward(ctx: Any, *along: Tensor | None) -> tuple[Tensor | None, ...]:
        upstream, image, displacement = ctx.saved_tensors
        if along[0] is None and along[1] is None:
            return None, None, None, None, None
        simple = along[0] is None and not ctx.needs_input_grad[1] and not torch.is_grad_enabled()
        if simple and along[1] is not None:
            second = _second_gradient(along[1], upstream, image, displacement, ctx.sampling)
            return second[0], None, second[1], None, None
        return *_by_reference(ctx, upstream, image, displacement, along), None, None


def warp_values(image: Tensor, displacement: Tensor, sampling: Sampling, *, residual: bool = False) -> Tensor:
    """Warped image (B, C, *S) without a graph, plus the image itself if `residual`."""
    batch = max(image.shape[0], displacement.shape[0])
    out = displacement.new_empty(batch, image.shape[1], *displacement.shape[2:])
    geometry = _geometry(image, displacement, sampling)
    _over_blocks(kernels.forward, out, _flat(image), *geometry, sampling.border, residual, _flat(out))
    return out


def warp_nearest(image: Tensor, displacement: Tensor, sampling: Sampling) -> Tensor:
    """Label map pulled back with the nearest label, for numbers of any kind that take 1, 2, 4 or 8 bytes.

    Args:
        image: (B or 1, C, *S_image) on the CPU; copied bit by bit, without a gradient.
        displacement: (B or 1, D, *S), one that `medreg.kernels.dispatch.usable` accepts.
        sampling: positions, computed with the roundings of the torch form, and padding.

    Returns:
        (B, C, *S), dtype of the image.
    """
    batch, shape = max(image.shape[0], displacement.shape[0]), displacement.shape[2:]
    out = image.new_empty(batch, image.shape[1], *shape)
    geometry = _geometry(image, displacement, sampling, rounded=True)
    bits = _BITS[image.element_size()]
    arrays = (_flat(image.contiguous().view(bits)), *geometry, sampling.border, _flat(out.view(bits)))
    lines = batch * shape[:-1].numel()
    run_chunks(kernel_nearest, lines, *arrays, work=_WORK * batch * shape.numel())
    return out


def warp_field_gradient(
    upstream: Tensor, image: Tensor, displacement: Tensor, sampling: Sampling, *, start: Tensor | None = None
) -> Tensor:
    """Gradient (B or 1, D, *S) in the displacement, of the displacement's batch, added to a contiguous `start`."""
    out = upstream.new_zeros(upstream.shape[0], *displacement.shape[1:]) if start is None else start
    geometry = _geometry(image, displacement, sampling)
    arrays = (_flat(upstream), _flat(image), *geometry, sampling.border, _flat(out))
    _over_blocks(kernels.field_gradient, out, *arrays)
    return _like(out, displacement)


def warp_image_gradient(
    upstream: Tensor, image: Tensor, displacement: Tensor, sampling: Sampling, *, start: Tensor | None = None
) -> Tensor:
    """Gradient (B or 1, C, *S_image) in the image, of the image's batch, added to a contiguous `start`."""
    batch, threads = upstream.shape[0], torch.get_num_threads()
    out = upstream.new_zeros(batch, *image.shape[1:]) if start is None else start
    geometry = _geometry(image, displacement, sampling)
    # Slabs let several threads work on one image; they change nothing in the result
    planes = next((size for size in image.shape[2:] if size > 1), 1)
    slabs = 1 if threads == 1 or batch >= 2 * threads else min(planes, 4 * threads)
    reach = torch.empty(
        displacement.shape[0] * kernels.blocks(displacement[0, 0].numel()), 2, dtype=torch.int32
    )
    if slabs > 1:
        _over_blocks(kernels.spans, displacement, *geometry, sampling.border, view(reach))
    arrays = (slabs, view(reach), _flat(upstream), *geometry, sampling.border, _flat(out))
    run_chunks(kernels.image_gradient, batch * slabs, *arrays, work=_WORK * upstream.numel())
    return _like(out, image)


def _second_gradient(
    along: Tensor, upstream: Tensor, image: Tensor, displacement: Tensor, sampling: Sampling
) -> tuple[Tensor, Tensor]:
    along = along.expand(upstream.shape[0], *along.shape[1:])
    in_upstream, in_field = torch.empty_like(upstream), torch.empty_like(along)
    in_upstream, in_field = in_upstream.contiguous(), in_field.contiguous()
    arrays = (_flat(along), _flat(upstream), _flat(image), *_geometry(image, displacement, sampling))
    _over_blocks(
        kernels.second_gradient, in_field, *arrays, sampling.border, _flat(in_upstream), _flat(in_field)
    )
    return in_upstream, _like(in_field, displacement)


def _by_reference(
    ctx: Any, upstream: Tensor, image: Tensor, displacement: Tensor, along: tuple[Tensor | None, ...]
) -> tuple[Tensor | None, ...]:
    """Second derivatives through the torch formula, themselves differentiable where gradients are enabled."""
    create = torch.is_grad_enabled()
    with torch.enable_grad():
        # Views or copies: the three may be functions of one another, or the same tensor
        inputs = [
            tensor.view_as(tensor) if create else tensor.detach().requires_grad_(True)
            for tensor in (upstream, image, displacement)
        ]
        value = ctx.sampling.reference(*inputs[1:])
        pairs = [(leaf, way) for leaf, way in zip(inputs[1:], along, strict=True) if way is not None]
        first = torch.autograd.grad(value, [leaf for leaf, _ in pairs], inputs[0], create_graph=True)
        wanted = [tensor for tensor, need in zip(inputs, ctx.needs_input_grad, strict=False) if need]
        found = iter(
            torch.autograd.grad(
                first, wanted, [way for _, way in pairs], create_graph=create, allow_unused=True
            )
        )
    return tuple(next(found) if need else None for need in ctx.needs_input_grad[:3])


def _over_blocks(function: Callable[..., None], out: Tensor, *arrays: Any) -> None:
    batch, voxels = out.shape[0], out[0, 0].numel()
    run_chunks(function, batch * kernels.blocks(voxels), *arrays, work=_WORK * batch * voxels)


def _geometry(
    image: Tensor, displacement: Tensor, sampling: Sampling, *, rounded: bool = False
) -> tuple[Any, ...]:
    """What a kernel needs to find positions: image size, displacement, grid size, base positions, gains."""
    absent = (1,) * (3 - displacement.shape[1])
    shape = tuple(displacement.shape[2:])
    exactness = displacement.dtype if rounded else torch.float64
    bases, gains = _bases(sampling.lines, shape, exactness, displacement.dtype)
    return (*absent, *image.shape[2:]), _flat(displacement), (*absent, *shape), bases, gains


@lru_cache(maxsize=16)
def _bases(
    lines: tuple[tuple[float, float, float], ...],
    shape: tuple[int, ...],
    exactness: torch.dtype,
    dtype: torch.dtype,
) -> tuple[Any, Any]:
    """Positions (3, longest axis) of every index without displacement, and the gains (3,)."""
    absent = 3 - len(lines)
    bases = torch.zeros(3, max(shape), dtype=exactness)
    gains = torch.ones(3, dtype=torch.float64)
    for axis, ((step, gain, offset), length) in enumerate(zip(lines, shape, strict=True), start=absent):
        bases[axis, :length] = torch.arange(length, dtype=exactness) * step + offset
        gains[axis] = gain
    return bases.to(dtype).numpy(), gains.to(dtype).numpy()


def _flat(tensor: Tensor) -> Any:
    """NumPy view (B, C, voxels)."""
    return view(tensor).reshape(*tensor.shape[:2], -1)


def _like(gradient: Tensor, argument: Tensor) -> Tensor:
    """The sum over the batch for an argument that was broadcast over it."""
    return gradient if gradient.shape[0] == argument.shape[0] else gradient.sum(0, keepdim=True)
