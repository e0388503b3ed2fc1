"""Working precision and inference mode: what code needs that differentiates while it infers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

Result = TypeVar("Result")


def at_least_single(tensor: Tensor) -> Tensor:
    """Half-precision and integer tensors as float32, others unchanged.

    Displacements must not live in half precision: beyond 256 voxels bfloat16 steps by whole voxels. Sums over a
    volume lose all digits in float16, whose unit 1/N vanishes above 16 384 voxels.
    """
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()


def usable(tensor: Tensor | None) -> Tensor | None:
    """A copy that autograd may save, if the tensor was made under `torch.inference_mode`; else the tensor."""
    return tensor.clone() if tensor is not None and tensor.is_inference() else tensor


def outside_inference_mode(compute: Callable[..., Result], *tensors: Tensor | None) -> Result:
    """Call `compute(*tensors)` where gradients can be enabled locally, even under `torch.inference_mode`.

    Inference mode is left for the call, the tensors are copied (inference tensors cannot be saved for a
    backward pass), and gradients stay disabled unless `compute` enables them. Outside inference mode the
    call is plain.
    """
    if not torch.is_inference_mode_enabled():
        return compute(*(usable(tensor) for tensor in tensors))
    with torch.inference_mode(False), torch.no_grad():
        return compute(*(usable(tensor) for tensor in tensors))
