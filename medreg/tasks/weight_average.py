"""The moving average of a network's weights along its training."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from medreg.errors import ConfigError


class WeightAverage(nn.Module):
    """w̄ ← a w̄ + (1 − a) w after every step of the optimiser, a = min(decay, 1 − 1 / (n + 1)) in the n-th.

    Running statistics of normalisation are averaged as weights are; counters are copied. Source: Tarvainen and
    Valpola 2017, released code.

    Args:
        model: the network, whose weights the average starts from.
        decay: the largest a; 0 ≤ decay < 1.
        option: name of the decay, for messages.

    Raises:
        ConfigError: another decay.
    """

    def __init__(self, model: nn.Module, decay: float, *, option: str) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ConfigError(
                f"{option} is {decay}; the average needs a decay from 0 to below 1, such as 0.999."
            )
        self.decay = decay
        self.network = copy.deepcopy(model).requires_grad_(False)
        self.updates = 0  # no tensor: reading one from a GPU would wait for it in every step

    def get_extra_state(self) -> int:
        """Return the number of updates, for checkpoints."""
        return self.updates

    def set_extra_state(self, state: int) -> None:
        """Take the number of updates of a checkpoint."""
        self.updates = int(state)

    @torch.no_grad()
    def begin(self, model: nn.Module) -> None:
        """Start from the weights that the model has now, unless a resumed training has an average already."""
        if not self.updates:
            self.network.load_state_dict(model.state_dict())

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the weights of a step.

        Args:
            model: the network after the step.
        """
        self.updates += 1
        share = 1 - min(self.decay, 1 - 1 / (self.updates + 1))
        own, new = _tensors(self.network), _tensors(model)
        continuous = [number for number, tensor in enumerate(own) if tensor.is_floating_point()]
        torch._foreach_lerp_([own[n] for n in continuous], [new[n].detach() for n in continuous], share)
        for number in set(range(len(own))) - set(continuous):
            own[number].copy_(new[number])

    def forward(self, image: Tensor) -> Tensor:
        """Return the answer of the averaged network, as in evaluation, without gradient."""
        with torch.no_grad():
            scores: Tensor = self.network.eval()(image)
        return scores


def _tensors(network: nn.Module) -> list[Tensor]:
    return [*network.parameters(), *network.buffers()]
