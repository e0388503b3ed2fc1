"""Which parameters of a module are random, as one flat vector, and fresh draws of their initialiser."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from medreg.errors import ConfigError

Factory = Callable[[], nn.Module]


@dataclass(frozen=True)
class Selection:
    """Named parameters that lie one after another in a vector of length `dim`.

    Attributes:
        names: of the parameters; a tied one appears once.
        shapes: of each.
    """

    names: tuple[str, ...]
    shapes: tuple[torch.Size, ...]

    @property
    def sizes(self) -> list[int]:
        """Entries of each parameter."""
        return [shape.numel() for shape in self.shapes]

    @property
    def dim(self) -> int:
        """Entries of all."""
        return sum(self.sizes)

    def unflatten(self, vector: Tensor) -> dict[str, Tensor]:
        """(…, D) → name → (…, *shape), views."""
        parts = vector.split(self.sizes, dim=-1)
        lead = vector.shape[:-1]
        return {
            name: part.reshape(*lead, *shape)
            for name, part, shape in zip(self.names, parts, self.shapes, strict=True)
        }

    def flatten(self, module: nn.Module) -> Tensor:
        """The present values in a module, (D,), copied."""
        named = dict(module.named_parameters(remove_duplicate=False))
        return torch.cat([named[name].detach().reshape(-1) for name in self.names])


def select(module: nn.Module, random: str) -> Selection:
    """Choose the trainable parameters that a pattern names.

    Args:
        module: any module.
        random: `all`, `last` (of the last layer that has parameters), or a regular expression that is searched for
            in the names of `named_parameters()`; a tied parameter is chosen by any of its names.

    Raises:
        ConfigError: the pattern is not a regular expression or fits nothing; or the parameters have several types.
    """
    aliases: dict[int, list[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        aliases.setdefault(id(parameter), []).append(name)
    trainable = {n: p for n, p in module.named_parameters() if p.requires_grad}
    if not trainable:
        raise ConfigError(
            "The module has no parameter that requires a gradient, so nothing can be made random."
        )
    pattern = _pattern(random, list(trainable))
    chosen = {n: p for n, p in trainable.items() if any(pattern.search(alias) for alias in aliases[id(p)])}
    if not chosen:
        raise ConfigError(
            f"random={random!r} fits none of the trainable parameters: {', '.join(list(trainable)[:8])}"
            f"{' …' if len(trainable) > 8 else ''}."
        )
    if len({(p.dtype, p.device) for p in chosen.values()}) > 1:
        raise ConfigError(
            "The random parameters have several types or devices; bring the module to one first."
        )
    return Selection(tuple(chosen), tuple(p.shape for p in chosen.values()))


def _pattern(random: str, names: list[str]) -> re.Pattern[str]:
    if random == "all":
        return re.compile("")
    if random == "last":
        layer = names[-1].rpartition(".")[0]
        return re.compile(rf"^{re.escape(layer)}\.[^.]+$" if layer else rf"^{re.escape(names[-1])}$")
    try:
        return re.compile(random)
    except re.error as error:
        raise ConfigError(f"random={random!r} is no regular expression: {error}.") from error


def prior_scales(module: nn.Module, selection: Selection, prior: float | str) -> Tensor:
    """Standard deviation of every entry's zero-mean normal prior, (D,).

    Args:
        module: whose parameters they are.
        selection: which.
        prior: a number for all, or `fan_in`: 1/√fan_in of the layer for its weight and bias, 1 for layers without a
            matrix, such as norms.

    Raises:
        ConfigError: neither.
    """
    like = selection.flatten(module)
    if prior == "fan_in":
        named = dict(module.named_parameters(remove_duplicate=False))
        scales = [1 / math.sqrt(_fan_in(name, named)) for name in selection.names]
        counts = torch.tensor(selection.sizes, device=like.device)
        return torch.tensor(scales, dtype=like.dtype, device=like.device).repeat_interleave(counts)
    if not isinstance(prior, int | float) or not 0 < prior < math.inf:
        raise ConfigError(f"prior is {prior!r}; give a standard deviation above 0, or fan_in.")
    return torch.full_like(like, prior)


def _fan_in(name: str, named: dict[str, nn.Parameter]) -> int:
    """Inputs of the layer that a parameter belongs to; 1 where it has no matrix."""
    own = named[name]
    layer = name.rpartition(".")[0]
    weight = own if own.ndim > 1 else named.get(f"{layer}.weight" if layer else "weight", own)
    return weight[0].numel() if weight.ndim > 1 else 1


def fresh_vectors(
    module: nn.Module, selection: Selection, seed: int, factory: Factory | None = None
) -> Callable[[tuple[int, ...]], Tensor]:
    """Return what draws new initial values, shape (*B) → (*B, D), without touching the global generator.

    The factory makes a new module; without one, `reset_parameters` of every layer is called on a copy, and parameters
    that no layer resets are normal with the RMS of their present values.
    """
    generator = torch.Generator().manual_seed(seed)

    def one() -> Tensor:
        word = int(torch.randint(2**62, (), generator=generator))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(word)
            made = factory() if factory is not None else _reinitialised(module)
        return selection.flatten(made)

    like = selection.flatten(module)

    def fresh(shape: tuple[int, ...]) -> Tensor:
        vectors = [one() for _ in range(math.prod(shape))]
        return torch.stack(vectors).to(like).reshape(*shape, selection.dim)

    return fresh


@torch.no_grad()
def _reinitialised(module: nn.Module) -> nn.Module:
    copied = copy.deepcopy(module).cpu()
    reset: set[int] = set()
    for layer in copied.modules():
        again = getattr(layer, "reset_parameters", None)
        if callable(again):
            again()
            reset.update(id(parameter) for parameter in layer.parameters(recurse=False))
    for parameter in copied.parameters():
        if id(parameter) not in reset:
            parameter.copy_(torch.randn_like(parameter) * parameter.square().mean().sqrt())
    return copied
