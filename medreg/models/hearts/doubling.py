"""A transposed convolution that doubles the grid, by the faster of two ways on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from medreg.models.blocks.conv import channels_last
from medreg.models.hearts.layers import KERNEL

HALF = KERNEL // 2
AT_ONCE = (
    2**18
)  # voxels of an image that are doubled at a time: what is made on the way is as large as the answer


class Doubling(nn.ConvTranspose3d):
    """A k4 s2 p1 transposed convolution, (B, C, *S) → (B, O, *2S); equal to torch's but for rounding.

    Voxel 2j − 1 + q of an axis, q = 0 or 1, takes tap q + 2 of voxel j − 1 and tap q of voxel j. So one k2 convolution
    of the padded image, with 8 O outputs a voxel, makes all of them: its outputs fill the vectors of a CPU, which the
    few channels of a fine grid leave nearly empty. The backward pass is that of the transposed convolution, as fast.

    Args:
        inputs: C.
        outputs: O.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, KERNEL, stride=2, padding=1)

    def forward(self, image: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Double every axis."""
        plain = (
            image.device.type != "cpu"
            or image.dtype != torch.float32
            or torch.is_autocast_enabled("cpu")
            or torch._C._functorch.maybe_current_level() is not None
            or torch.compiler.is_compiling()
            or self.bias is None
        )
        if plain:
            return super().forward(image, output_size)
        found: Tensor = _Doubled.apply(image, self.weight, self.bias)
        return found


class _Doubled(torch.autograd.Function):
    """Forward by sub-voxels, backward as torch has it."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(image, weight)
        outputs, sizes = weight.shape[1], [2 * length for length in image.shape[2:]]
        kernel, biases = subvoxel_kernel(weight), bias.repeat(2**3)
        doubled = image.new_empty(len(image), *sizes, outputs).movedim(-1, 1)
        step = max(2, AT_ONCE // image[0, 0].numel())  # one alone takes a slower path
        for some, out in zip(image.split(step), doubled.split(step), strict=True):
            out.copy_(interleaved(nn.functional.conv3d(some, kernel, biases, padding=1), outputs))
        return doubled

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        image, weight = ctx.saved_tensors
        gradient = channels_last(gradient)
        two, one, zero = [2] * 3, [1] * 3, [0] * 3
        found = torch.ops.aten.convolution_backward(
            gradient,
            image,
            weight,
            [weight.shape[1]],
            two,
            one,
            one,
            True,
            zero,
            1,
            list(ctx.needs_input_grad[:3]),
        )
        return tuple(found)


def subvoxel_kernel(weight: Tensor) -> Tensor:
    """Return the k2 kernel, (8 O, C, 2, 2, 2), of a k4 one of a transposed convolution, (C, O, 4, 4, 4).

    Outputs are ordered by the places q of their voxels along three axes, then by channel.
    """
    for axis in (4, 3, 2):
        weight = weight.unflatten(axis, (HALF, 2))
    # axes: C, O, tap x, place x, tap y, place y, tap z, place z; the later tap belongs to the earlier voxel
    return weight.flip((2, 4, 6)).permute(3, 5, 7, 1, 0, 2, 4, 6).flatten(0, 3)


def interleaved(found: Tensor, outputs: int) -> Tensor:
    """Return (B, O, *2S), channels innermost, of sub-voxels (B, 8 O, *(S + 1)); half of the outermost lie outside."""
    count, _, x, y, z = found.shape
    parts = found.unflatten(1, (2, 2, 2, outputs))  # B, qx, qy, qz, O, X, Y, Z
    whole = parts.permute(0, 5, 1, 6, 2, 7, 3, 4).reshape(count, 2 * x, 2 * y, 2 * z, outputs)
    return whole[:, 1:-1, 1:-1, 1:-1].movedim(-1, 1)
