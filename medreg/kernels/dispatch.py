"""When compiled loops may stand in for torch operations, and the view they get of a tensor."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from medreg.kernels.compile import available

_DTYPES = (torch.float32, torch.float64)
_PLAIN = (Tensor, torch.nn.Parameter)
_INDEX_MAX = 2**31 - 1


def usable(*tensors: Tensor) -> bool:
    """Whether kernels can take these tensors.

    They need ordinary, non-empty CPU tensors (B, C, *S) of one dtype, float32 or float64, with fewer than
    2³¹ elements a channel, and nothing that records or transforms the operations: not torch.compile,
    torch.func, forward-mode differentiation or tracing.
    """
    if _recorded() or not available():
        return False
    dtype = tensors[0].dtype
    return dtype in _DTYPES and all(_plain(tensor, dtype) for tensor in tensors)


def copyable(tensor: Tensor) -> bool:
    """Whether kernels can copy the elements bit by bit: non-empty CPU tensors of 1, 2, 4 or 8 bytes an element."""
    return (
        type(tensor) in _PLAIN
        and tensor.device.type == "cpu"
        and tensor.layout == torch.strided
        and not (tensor.is_neg() or tensor.is_conj() or tensor.is_quantized)
        and tensor.numel() > 0
        and tensor.element_size() in (1, 2, 4, 8)
        and math.prod(tensor.shape[2:]) <= _INDEX_MAX
    )


def view(tensor: Tensor) -> Any:
    """NumPy array over a contiguous tensor's memory (of a copy if it is not contiguous)."""
    return tensor.detach().contiguous().numpy()


def _plain(tensor: Tensor, dtype: torch.dtype) -> bool:
    return (
        type(tensor) in _PLAIN
        and tensor.dtype == dtype
        and tensor.device.type == "cpu"
        and tensor.layout == torch.strided
        and not tensor.is_neg()
        and tensor.numel() > 0
        and math.prod(tensor.shape[2:]) <= _INDEX_MAX
    )


def _recorded() -> bool:
    return (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or torch._C._functorch.maybe_current_level() is not None
        or forward_ad._current_level >= 0
    )
