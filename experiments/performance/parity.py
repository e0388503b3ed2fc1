"""Whether our networks, in the authors' conventions, compute what the authors' released networks compute."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor, nn

from experiments.performance.inputs import Inputs
from experiments.performance.peers.csain_release import CSAINRelease
from experiments.performance.peers.csain_release import copy_weights as copy_csain
from experiments.performance.peers.csain_step import csain_task, region_weights
from experiments.performance.peers.our_steps import training_step
from experiments.performance.peers.release import Release
from experiments.performance.peers.vrnet_release import VRNetRelease
from experiments.performance.peers.vrnet_release import copy_weights as copy_vrnet
from experiments.performance.work import Contender
from medreg.models.csain import ConditionalPyramid
from medreg.models.vrnet import VRNet

Difference = tuple[str, str, float, str]  # contender, quantity, value, note


def differences(network: str, releases: Sequence[Contender], small: Inputs) -> list[Difference]:
    """Contender, quantity, relative difference and note of every release that has the network.

    Args:
        network: as named in the section of steps.
        releases: all contenders.
        small: images to compare on.
    """
    return [row for contender in releases for row in _CHECKS.get(network, _none)(contender, small)]


def gradirn(contender: Contender, small: Inputs) -> Iterator[Difference]:
    """Difference of the losses, with the release's weights."""
    if isinstance(contender, Release):
        ours = training_step(small, overrides=("model=gradirn", "protocol=gradirn_paper"))
        theirs = contender.steps()["gradirn"](small)
        copy_weights(theirs.network, ours.network)
        mine, other = float(ours.loss()), float(theirs.loss())
        note = "ours with protocol=gradirn_paper and its weights"
        yield contender.name, "loss_difference", abs(mine - other) / abs(other), note


def vrnet(contender: Contender, small: Inputs) -> Iterator[Difference]:
    """Differences of the fields and of the gradients of their mean square, with the release's weights."""
    if not isinstance(contender, VRNetRelease) or small.size.ndim != 3:
        return
    for data_term, name in (("l2", contender.name), ("l1", f"{contender.name}, l1")):
        theirs = contender.network(small, data_term=data_term)
        step = training_step(small, overrides=("model=vrnet_release", f"model.data_term={data_term}"))
        ours = step.network
        assert isinstance(ours, VRNet)
        copy_vrnet(theirs, ours)
        field, other = ours(small.fixed, small.moving).displacement, contender.field(theirs, small)
        note = "ours is model=vrnet_release with its weights; relative to the largest value"
        yield name, "field_difference", _relative(field, other), note
        pair = (_gradients(network, answer) for network, answer in ((ours, field), (theirs, other)))
        yield name, "gradient_difference", _relative(*pair), note


def csain(contender: Contender, small: Inputs) -> Iterator[Difference]:
    """Differences of the fields and of the gradients of their mean square, with the release's weights."""
    if not isinstance(contender, CSAINRelease) or small.size.ndim != 2:
        return
    theirs = contender.network(small)
    task, batch = csain_task(small, "model.upsampling=authors", "task.label_downsampling=avgpool_round")
    ours = task.model
    assert isinstance(ours, ConditionalPyramid)
    copy_csain(theirs, ours.network)
    field = task.answer(batch, region_weights(small)[None], levels=task.levels)[-1].deformation.displacement
    other = contender.field(theirs, small)
    note = "ours with model.upsampling=authors, task.label_downsampling=avgpool_round and its weights"
    yield contender.name, "field_difference", _relative(field, other), note
    pair = (_gradients(network, answer) for network, answer in ((ours, field), (theirs, other)))
    yield contender.name, "gradient_difference", _relative(*pair), note


def _gradients(network: nn.Module, field: Tensor) -> Tensor:
    """All gradients of the mean square of the field, in order of size: free of the order of layers."""
    network.zero_grad()
    field.square().mean().backward()
    found = [p.grad.flatten() for p in network.parameters() if p.grad is not None]
    return torch.cat(found).sort().values


def _relative(one: Tensor, other: Tensor) -> float:
    return float((one - other).detach().abs().max() / other.detach().abs().max())


def _none(contender: Contender, small: Inputs) -> Iterator[Difference]:
    return iter(())


def copy_weights(source: nn.Module, target: nn.Module) -> None:
    """Copy parameters between networks that hold the same ones in another order: step sizes, then layers.

    Raises:
        ValueError: shapes that do not match.
    """
    kinds: tuple[Callable[[Tensor], bool], ...] = (lambda p: p.ndim == 0, lambda p: p.ndim > 0)
    with torch.no_grad():
        for kind in kinds:
            pairs = zip(filter(kind, source.parameters()), filter(kind, target.parameters()), strict=True)
            for one, other in pairs:
                if one.shape != other.shape:
                    raise ValueError(f"parameters of shapes {tuple(one.shape)} and {tuple(other.shape)}")
                other.copy_(one)


_CHECKS: Mapping[str, Callable[[Contender, Inputs], Iterator[Difference]]] = MappingProxyType(
    {"gradirn": gradirn, "vrnet": vrnet, "csain": csain}
)
