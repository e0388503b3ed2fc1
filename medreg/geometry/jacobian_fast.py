"""Jacobian determinant by compiled loops; `medreg.geometry.derivatives` decides when."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from medreg.kernels import jacobian as kernels
from medreg.kernels.compile import run_chunks
from medreg.kernels.dispatch import view

# Work of one voxel beside that of one element of a simple loop
_WORK = 4


def determinant(displacement: Tensor, *, central: bool, reference: Callable[[Tensor], Tensor]) -> Tensor:
    """det(I + ∂u/∂x) of a displacement (B, D, *S) that `medreg.kernels.dispatch.usable` accepts, (B, *S).

    Args:
        displacement: voxels.
        central: central differences inside, otherwise forward ones.
        reference: the same in torch operations, for second derivatives.
    """
    return _Determinant.apply(displacement, central, reference)


class _Determinant(Function):
    @staticmethod
    def forward(
        ctx: Any, displacement: Tensor, central: bool, reference: Callable[[Tensor], Tensor]
    ) -> Tensor:
        ctx.save_for_backward(displacement)
        ctx.central, ctx.reference = central, reference
        out = displacement.new_empty(displacement.shape[0], *displacement.shape[2:])
        field, result = _solid(displacement), _solid(out.unsqueeze(1))[:, 0]
        arrays = (field, central, result)
        run_chunks(kernels.determinant, result.shape[0] * result.shape[1], *arrays, work=_WORK * out.numel())
        return out

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        (displacement,) = ctx.saved_tensors
        if torch.is_grad_enabled():
            value = ctx.reference(displacement)
            return torch.autograd.grad(value, displacement, upstream[0], create_graph=True)[0], None, None
        out = torch.zeros_like(displacement, memory_format=torch.contiguous_format)
        field, g = _solid(displacement), _solid(upstream[0].unsqueeze(1))[:, 0]
        threads = torch.get_num_threads()
        slabs = 1 if threads == 1 else min(g.shape[1], max(1, 4 * threads // g.shape[0]))
        arrays = (slabs, g, field, ctx.central, _solid(out))
        run_chunks(kernels.adjoint, g.shape[0] * slabs, *arrays, work=_WORK * g.size)
        return out, None, None


def _solid(field: Tensor) -> Any:
    """NumPy view (B, C, X, Y, Z); a plane is a volume of one."""
    array = view(field)
    return array if field.ndim == 5 else array[:, :, None]
