"""MC dropout of any module: its dropout layers stay on, and every mask comes from a generator of its own.

The module stays in evaluation mode, so that batch normalisation and everything else answers as it does at test time; a
hook on each dropout layer, the identity there, puts the mask on. The global random state is neither used nor changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd as Dropping

from medreg.errors import CompositionError, ConfigError
from medreg.inference.comparators.dropout import LARGEST, all_masks, check_probability

ELEMENTS = (nn.Dropout,)
CHANNELS = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
OTHERS = (nn.AlphaDropout, nn.FeatureAlphaDropout)
Hook = Callable[[Any, tuple[Any, ...], Tensor], Tensor]


def dropout_layers(module: nn.Module) -> dict[str, Dropping]:
    """Return name → layer of every dropout layer that drops something.

    Raises:
        CompositionError: there is none, or one whose masks are not Bernoulli.
    """
    found = {name: layer for name, layer in module.named_modules() if isinstance(layer, ELEMENTS + CHANNELS)}
    other = [name for name, layer in module.named_modules() if isinstance(layer, OTHERS)]
    if other:
        raise CompositionError(
            f"MC dropout knows Dropout and Dropout1d to 3d; {', '.join(other)} is another kind."
        )
    dropping: dict[str, Dropping] = {name: layer for name, layer in found.items() if layer.p > 0}
    if not dropping:
        raise CompositionError(
            f"{type(module).__name__} has no dropout layer with p > 0; give it some (such as model.dropout=0.2) and "
            "train it with them."
        )
    return dropping


def dropout_draws(
    module: nn.Module,
    *inputs: Tensor,
    draws: int,
    generator: torch.Generator | None = None,
    shared: bool = False,
) -> Tensor:
    """Return the answers of a module under independent masks, (draws, …).

    Args:
        module: with dropout layers; its mode is restored afterwards.
        *inputs: of the module.
        draws: number of masks.
        generator: of the masks, on the device of the inputs; None makes one with seed 0.
        shared: one mask for the whole batch: then a draw is one function, as a draw of weights is.

    Raises:
        ConfigError: no draw.
        CompositionError: no dropout layer.
    """
    if draws < 1:
        raise ConfigError(f"{draws} draws of MC dropout are none; take one or more.")
    layers = dropout_layers(module)
    source = torch.Generator(inputs[0].device).manual_seed(0) if generator is None else generator

    def mask(layer: Dropping, given: tuple[Any, ...], answer: Tensor) -> Tensor:
        p = layer.p
        kept = (
            torch.rand(mask_shape(layer, answer, shared=shared), generator=source, device=answer.device) >= p
        )
        return answer * kept.to(answer.dtype) / (1 - p)

    with masked(module, dict.fromkeys(layers, mask)), torch.no_grad():
        return torch.stack([module(*inputs) for _ in range(draws)])


def enumerate_dropout(module: nn.Module, *inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return the answers under all masks, shared by the batch, and their probabilities: (2^U, …) and (2^U,).

    Raises:
        ConfigError: more than 16 units are dropped.
    """
    layers = dropout_layers(module)
    sizes: dict[str, torch.Size] = {}

    def look(name: str) -> Hook:
        def hook(layer: Dropping, given: tuple[Any, ...], answer: Tensor) -> Tensor:
            sizes[name] = mask_shape(layer, answer, shared=True)
            return answer

        return hook

    with masked(module, {name: look(name) for name in layers}), torch.no_grad():
        module(*inputs)
    total = sum(size.numel() for size in sizes.values())
    if total > LARGEST:
        raise ConfigError(
            f"The module drops {total} units; at most {LARGEST} can be enumerated. Use dropout_draws."
        )
    shares, parts = inputs[0].new_ones(1), []
    for name, size in sizes.items():
        masks, weights = all_masks(size.numel(), layers[name].p, dtype=inputs[0].dtype)
        parts.append(masks)
        shares = (shares[:, None] * weights).flatten()
    index = torch.cartesian_prod(*(torch.arange(len(masks)) for masks in parts)).reshape(len(shares), -1)
    answers = []
    for row in index:
        chosen = {name: parts[k][row[k]].reshape(sizes[name]) for k, name in enumerate(sizes)}
        with masked(module, {name: _given(mask) for name, mask in chosen.items()}), torch.no_grad():
            answers.append(module(*inputs))
    return torch.stack(answers), shares


def mask_shape(layer: Dropping, answer: Tensor, *, shared: bool) -> torch.Size:
    """Return the shape of the mask of a layer: by element or by channel, for every sample or shared."""
    shape = list(answer.shape)
    if isinstance(layer, CHANNELS):
        shape[2:] = [1] * len(shape[2:])
    if shared:
        shape[0] = 1
    return torch.Size(shape)


@contextmanager
def masked(module: nn.Module, hooks: dict[str, Hook]) -> Iterator[None]:
    """Keep a module in evaluation mode with a hook on each named layer; the mode of every part is restored."""
    modes = {part: part.training for part in module.modules()}
    known = dict(module.named_modules())
    with ExitStack() as stack:
        for name, hook in hooks.items():
            stack.callback(known[name].register_forward_hook(hook).remove)
        module.eval()
        try:
            yield
        finally:
            for part, mode in modes.items():
                part.training = mode


def set_probability(module: nn.Module, probability: float) -> None:
    """Give every dropout layer a probability.

    Raises:
        ConfigError: outside [0, 1).
    """
    check_probability(probability)
    for part in module.modules():
        if isinstance(part, ELEMENTS + CHANNELS):
            part.p = probability


def _given(mask: Tensor) -> Hook:
    def hook(layer: Dropping, given: tuple[Any, ...], answer: Tensor) -> Tensor:
        return answer * mask / (1 - layer.p)

    return hook
