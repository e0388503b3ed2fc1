"""One small matrix per axis: linear maps of a grid that separate, by matrix products."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

MatrixOf = Callable[[tuple[Any, ...]], Tensor]


def apply_per_axis(field: Tensor, keys: Sequence[tuple[Any, ...]], matrix_of: MatrixOf) -> Tensor:
    """Multiply each spatial axis by its matrix, last axis first, in at least float32 even under autocast.

    Args:
        field: (B, C, *S).
        keys: of the matrix of each axis, hashable; matrices are made once for every key, dtype and device.
        matrix_of: from a key to a matrix (n, S_a) in float64; a function of the module's own level.

    Returns:
        (B, C, *n).
    """
    field = field.to(torch.promote_types(field.dtype, torch.float32))
    with torch.autocast(field.device.type, enabled=False):
        for axis in reversed(range(len(keys))):
            matrix = _on(keys[axis], matrix_of, field.dtype, field.device)
            before, after = field.shape[: 2 + axis], field.shape[3 + axis :]
            if after:
                stacked = field.reshape(math.prod(before), field.shape[2 + axis], math.prod(after))
                field = (matrix @ stacked).reshape(*before, matrix.shape[0], *after)
            else:
                field = field @ matrix.mT
    return field


@lru_cache(maxsize=64)
def _on(key: tuple[Any, ...], matrix_of: MatrixOf, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False), torch.no_grad(), torch.autocast("cpu", enabled=False):
        return matrix_of(key).to(device, dtype)
