"""Whether our CHeart, with the switches of the released code and its weights, computes what the release computes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from experiments.performance.inputs import Inputs
from experiments.performance.parity import Difference
from experiments.performance.peers.cheart_release import CHeartRelease
from experiments.performance.peers.heart_step import SEED, Hearts, heart_task
from experiments.performance.work import Contender

_NOTE = "ours is model=cheart_released with its weights and its noise"


def differences(releases: Sequence[Contender], small: Inputs) -> list[Difference]:
    """Contender, quantity, relative difference and note, for the release that has CHeart.

    Args:
        releases: adapters of the checkouts that were given.
        small: hearts to compare on.
    """
    return [row for each in releases if isinstance(each, CHeartRelease) for row in _compare(each, small)]


def _compare(release: CHeartRelease, small: Inputs) -> Iterator[Difference]:
    hearts, theirs = Hearts.of(small), release.network(small)
    task = heart_task(small)
    copy_weights(theirs, task.model)
    torch.manual_seed(SEED)  # of the noise of their code
    other = release.terms(theirs, hearts)()
    output = task.model(hearts.shape, hearts.covariates, generator=torch.Generator().manual_seed(SEED))
    mine = task.loss(output, hearts.shape)
    names = ("loss", "cross-entropy", "divergence")
    for name, one, two in zip(names, (mine.loss, mine.ce, mine.kl), other, strict=True):
        apart = (one - two).detach().abs() / two.detach().abs()
        yield release.name, f"{name}_difference", float(apart), _NOTE
    yield release.name, "gradient_difference", _gradients(task.model, mine.loss, theirs, other[0]), _NOTE


def _gradients(ours: nn.Module, mine: Tensor, theirs: nn.Module, other: Tensor) -> float:
    """Largest difference of the gradients of the same weights over the largest of them."""
    mine.backward()
    other.backward()
    worst, scale = 0.0, 0.0
    for target, source, turned in pairs(theirs, ours):
        one, two = target.grad, turned(source.grad)
        worst = max(worst, float((one - two).abs().max()))
        scale = max(scale, float(two.abs().max()))
    return worst / scale


def copy_weights(theirs: nn.Module, ours: nn.Module) -> None:
    """Give our model the weights of the release, axes turned from (Z, X, Y) to (X, Y, Z)."""
    with torch.no_grad():
        for target, source, turned in pairs(theirs, ours):
            target.copy_(turned(source))


def pairs(theirs: Any, ours: Any) -> Iterator[tuple[Tensor, Tensor, Any]]:
    """Our parameters, theirs, and how theirs become ours."""
    layers: list[Any] = [layer for layer in theirs.encoder if isinstance(layer, nn.Conv3d)]
    norms = [layer for layer in theirs.encoder if isinstance(layer, nn.BatchNorm3d)]
    mine: list[Any] = [ours.encoder.first, *ours.encoder.others, *ours.encoder.norms]
    ups = [layer for layer in theirs.decoder if isinstance(layer, nn.ConvTranspose3d)]
    norms_up = [layer for layer in theirs.decoder if isinstance(layer, nn.BatchNorm3d)]
    layers += [*norms, *ups, *norms_up]
    mine += [*ours.decoder.ups, *ours.decoder.norms]
    layers += [layer for layer in theirs.mapping.model if isinstance(layer, nn.Linear)]
    mine += [layer for layer in ours.mapping if isinstance(layer, nn.Linear)]
    for one, other in zip(mine, layers, strict=True):
        yield one.weight, other.weight, _kernel if other.weight.ndim == 5 else _same
        yield one.bias, other.bias, _same
    grid: Any = (
        ours.decoder.start[0],
        ours.decoder.start[3],
        *ours.decoder.start[1:3],
    )  # their order, Z first
    for one, other in (
        (ours.encoder.mean, theirs.linear_means),
        (ours.encoder.log_variance, theirs.linear_log_var),
    ):
        yield one.weight, other.weight, lambda weight: weight.unflatten(1, grid).movedim(2, -1).flatten(1)
        yield one.bias, other.bias, _same
    for one, other in (
        (ours.decoder.linear.weight, theirs.fc2.weight),
        (ours.decoder.linear.bias, theirs.fc2.bias),
    ):
        yield one, other, lambda values: values.unflatten(0, grid).movedim(1, 3).flatten(0, 3)
    cell = ours.recurrence.steps
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        yield getattr(cell, f"{name}_l0"), getattr(theirs.lstm_cell, name), _same


def _kernel(weight: Tensor) -> Tensor:
    return weight.movedim(2, -1)


def _same(values: Tensor) -> Tensor:
    return values
