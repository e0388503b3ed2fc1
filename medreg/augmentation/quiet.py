"""A network that is asked without being changed: its statistics stand still, its dropout repeats itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def statistics_kept(module: nn.Module | None) -> Iterator[None]:
    """Within it, no buffer of any submodule changes, to the bit, while each works in the mode that it is in.

    Batch normalisation in train mode uses the statistics of the batch and does not add them to the running ones. Other
    modules in train mode get copies of their buffers to write to. (The code of AdvChain of 2021 reached the direct
    children of a network only.)

    Args:
        module: whose buffers; None is nobody's.
    """
    tracking: list[_BatchNorm] = []
    buffers: list[tuple[nn.Module, dict[str, torch.Tensor | None]]] = []
    try:
        for part in () if module is None else module.modules():
            if not part.training:
                continue
            if isinstance(part, _BatchNorm):
                if part.track_running_stats:
                    part.track_running_stats = False
                    tracking.append(part)
            elif part._buffers:
                own = dict(part._buffers)
                buffers.append((part, own))
                part._buffers.update({k: None if v is None else v.clone() for k, v in own.items()})
        yield
    finally:
        for norm in tracking:
            norm.track_running_stats = True
        for part, own in buffers:
            part._buffers.update(own)


@contextmanager
def train_mode(module: nn.Module | None) -> Iterator[None]:
    """Within it every submodule is in train mode; afterwards each is again in its own."""
    parts = [] if module is None else list(module.modules())
    modes = [part.training for part in parts]
    try:
        for part in parts:
            part.training = True
        yield
    finally:
        for part, mode in zip(parts, modes, strict=True):
            part.training = mode


@contextmanager
def chance_repeated(seed: int, device: torch.device) -> Iterator[None]:
    """Within it, torch's global generators of the CPU and the device start from a seed; then they go on as before.

    Passes under one seed have the same dropout masks, whatever dropout layers or functions a network has.

    Args:
        seed: any whole number.
        device: where the network is.
    """
    with ExitStack() as stack:
        if device.type == "cpu":
            stack.enter_context(torch.random.fork_rng(devices=[]))
        else:
            backend = torch.get_device_module(device)
            index = backend.current_device() if device.index is None else device.index
            stack.enter_context(torch.random.fork_rng(devices=[index], device_type=device.type))
            backend.default_generators[index].manual_seed(seed)
        torch.default_generator.manual_seed(seed)
        yield
