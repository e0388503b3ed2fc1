"""Losses whose value and gradient come out of one compiled pass, with their torch formula behind them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from medreg.kernels.dispatch import usable


@dataclass(frozen=True)
class Evaluation:
    """One pass of a kernel.

    Attributes:
        values: (B,) loss of each sample.
        gradients: derivative of the sum of the values, in the order of the inputs; None where not wanted.
    """

    values: Tensor
    gradients: tuple[Tensor | None, ...]


class Fused(Protocol):
    """A loss of some tensors in two forms that give the same number."""

    @property
    def formula(self) -> Callable[..., Tensor]:
        """The (B,) loss of the inputs by differentiable torch operations, on any device; the reference."""
        ...

    def evaluate(self, inputs: Sequence[Tensor], wanted: Sequence[bool]) -> Evaluation:
        """Return the loss and the gradients for the wanted inputs, by a kernel."""
        ...


def fused(loss: Fused, *inputs: Tensor) -> Tensor:
    """Evaluate a loss by its kernel where that can run, else by its formula.

    The gradient is made together with the value and only scaled in the backward pass. Derivatives of the
    second order and above go through the formula, at its price, when and only when they are asked for.

    Args:
        loss: both forms. Tensors that it holds itself are constants.
        *inputs: tensors of equal precision and device, each (B, ...).

    Returns:
        (B,).
    """
    if not usable(*inputs):
        return loss.formula(*inputs)
    wanted = tuple(torch.is_grad_enabled() and tensor.requires_grad for tensor in inputs)
    if not any(wanted):
        return loss.evaluate(inputs, wanted).values
    result: Tensor = _Value.apply(loss, wanted, *inputs)
    return result


class _Value(torch.autograd.Function):
    """(B,) values; the gradients wait in the context for the first backward pass, which uses them up."""

    @staticmethod
    def forward(ctx: Any, loss: Fused, wanted: tuple[bool, ...], *inputs: Tensor) -> Tensor:
        found = loss.evaluate(inputs, wanted)
        ctx.save_for_backward(*inputs)
        ctx.loss, ctx.wanted, ctx.gradients = loss, wanted, found.gradients
        return found.values

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        inputs = ctx.saved_tensors
        waiting, ctx.gradients = ctx.gradients, None
        if waiting is None:  # a second backward pass through a retained graph
            waiting = ctx.loss.evaluate([tensor.detach() for tensor in inputs], ctx.wanted).gradients
        if torch.is_grad_enabled():
            found = iter(_Gradient.apply(ctx.loss, ctx.wanted, waiting, upstream[0], *inputs))
            return None, None, *(next(found) if want else None for want in ctx.wanted)
        return None, None, *_scaled(waiting, upstream[0])


class _Gradient(torch.autograd.Function):
    """Upstream (B,) times the gradients that are known already; its own derivative is that of the formula."""

    @staticmethod
    def forward(
        ctx: Any,
        loss: Fused,
        wanted: tuple[bool, ...],
        gradients: tuple[Tensor | None, ...],
        upstream: Tensor,
        *inputs: Tensor,
    ) -> tuple[Tensor, ...]:
        ctx.save_for_backward(upstream, *inputs)
        ctx.loss, ctx.wanted = loss, wanted
        return tuple(tensor for tensor in _scaled(gradients, upstream) if tensor is not None)

    @staticmethod
    def backward(ctx: Any, *directions: Tensor) -> tuple[Tensor | None, ...]:
        further = torch.is_grad_enabled()
        with torch.enable_grad():
            # Nodes of their own, so that one input that was made from another is not followed there.
            upstream, *inputs = (_node(tensor, further) for tensor in ctx.saved_tensors)
            values = ctx.loss.formula(*inputs)
            chosen = [tensor for tensor, want in zip(inputs, ctx.wanted, strict=True) if want]
            first = torch.autograd.grad(values, chosen, upstream, create_graph=True, materialize_grads=True)
        needed = [n for n, need in enumerate(ctx.needs_input_grad[3:]) if need]
        sources = [(upstream, *inputs)[n] for n in needed]
        second = torch.autograd.grad(first, sources, directions, create_graph=further, allow_unused=True)
        place = dict(zip(needed, second, strict=True))
        return None, None, None, *(place.get(n) for n in range(len(ctx.saved_tensors)))


def _scaled(gradients: Sequence[Tensor | None], upstream: Tensor) -> list[Tensor | None]:
    """Each gradient times the factor of its sample, in place: nobody else holds them."""
    return [
        None
        if tensor is None
        else tensor.mul_(upstream.detach().to(tensor.dtype).view(-1, *[1] * (tensor.ndim - 1)))
        for tensor in gradients
    ]


def _node(tensor: Tensor, attached: bool) -> Tensor:
    return tensor.view_as(tensor) if attached else tensor.detach().requires_grad_(tensor.requires_grad)
