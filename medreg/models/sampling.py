"""Registration models that answer with samples, and what they share: how many, from which seed, and who hears them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from medreg.errors import ConfigError
from medreg.inference.registration import Registration
from medreg.inference.sampling.draw import Draw, Listener
from medreg.models.base import RegistrationModel


class SamplingModel(RegistrationModel):
    """A model that answers a pair with several displacements beside the one to use.

    Samples are drawn in evaluation mode only and depend on the seed alone: the same pair gets the same samples in
    every call.

    Args:
        samples: K of a call that names none; 0, or 2 at least, since one sample has no spread.
        seed: of the samples.

    Raises:
        ConfigError: a number of samples that says nothing.
    """

    def __init__(self, *, samples: int, seed: int) -> None:
        super().__init__()
        if samples < 0 or samples == 1:
            raise ConfigError(
                f"model.samples is {samples}; give 0 for none, or 2 at least: one sample has no spread."
            )
        self.samples, self.seed = samples, seed

    @abstractmethod
    def forward(
        self,
        fixed: Tensor,
        moving: Tensor,
        *,
        spacing_mm: Tensor | None = None,
        fixed_mask: Tensor | None = None,
        moving_mask: Tensor | None = None,
        draws: int | None = None,
        listeners: Sequence[Listener] = (),
    ) -> Registration:
        """Register each moving image to its fixed image.

        Args:
            fixed: (B, C, *S), as in `RegistrationModel.forward`, like what follows.
            moving: (B, C, *S).
            spacing_mm: (B, D) or (D,), mm.
            fixed_mask: (B, 1, *S).
            moving_mask: (B, 1, *S).
            draws: K of this call; None takes the model's own. None are drawn in training mode.
            listeners: each is told every sample, which is not kept then: `Registration.samples` is None, and memory
                does not grow with K.
        """

    def draw(
        self, one: Callable[[int], Tensor], draws: int | None, listeners: Sequence[Listener]
    ) -> Tensor | None:
        """Return the K samples (K, B, D, *S), or tell them to the listeners and return None.

        Args:
            one: from k to a displacement (B, D, *S), voxels.
            draws: K, None for the model's own.
            listeners: as in `forward`.
        """
        count = 0 if self.training else (self.samples if draws is None else draws)
        kept: list[Tensor] = []
        with torch.no_grad():
            for k in range(count):
                displacement = one(k)
                for listener in listeners:
                    listener(Draw.independent(displacement, k))
                if not listeners:
                    kept.append(displacement)
        return torch.stack(kept) if kept else None


def without_samples(model: nn.Module) -> dict[str, Any]:
    """Return the arguments of a call whose samples nobody would look at, such as one in validation."""
    return {"draws": 0} if isinstance(model, SamplingModel) else {}


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Draw from a seed within the block and leave the global generators as they were."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


@contextmanager
def dropping(module: nn.Module) -> Iterator[None]:
    """Keep dropout on within the block, whatever the mode of the module."""
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Dropout)]
    before = [layer.training for layer in layers]
    for layer in layers:
        layer.train()
    try:
        yield
    finally:
        for layer, mode in zip(layers, before, strict=True):
            layer.train(mode)
