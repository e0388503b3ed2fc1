"""Densities of targets given a module's output, and what many outputs together predict."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from medreg.errors import ConfigError, require_number

# (output of one parameter vector, targets) → ln p(target | output) of every item, (B,).
LogLikelihood = Callable[..., Tensor]


def normal(std: float) -> LogLikelihood:
    """Targets with independent normal noise: (B, …) and (B, …) → (B,), summed over all but the first axis.

    Args:
        std: of the noise, in the unit of the targets.

    Raises:
        ConfigError: a standard deviation that is not above 0.
    """
    require_number("std", std, above=0)
    constant = math.log(std) + 0.5 * math.log(2 * math.pi)

    def log_likelihood(output: Tensor, target: Tensor) -> Tensor:
        if output.shape != target.shape:
            raise ConfigError(
                f"The output has shape {tuple(output.shape)}, the targets {tuple(target.shape)}."
            )
        each = -0.5 * ((target - output) / std).square() - constant
        return each.reshape(len(each), -1).sum(-1)

    return log_likelihood


def categorical(output: Tensor, target: Tensor) -> Tensor:
    """Logits (B, C, *S) and class numbers (B, *S) → (B,), summed over S."""
    each = -functional.cross_entropy(output, target, reduction="none")
    return each.reshape(len(each), -1).sum(-1)


def log_mean_density(log_densities: Tensor) -> Tensor:
    """Ln of the mean density over samples, (S, B) → (B,); never the mean of logarithms."""
    return torch.logsumexp(log_densities, 0) - math.log(len(log_densities))


def entropy_split(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Total entropy of the mean prediction, the expected entropy and their difference, the mutual information.

    Args:
        logits: (S, B, C, …), of S samples.

    Returns:
        Three (B, …) in nats: total, of the data, of the parameters.
    """
    logs = torch.log_softmax(logits, 2)
    total = _entropy(log_mean_density(logs), 1)
    expected = _entropy(logs, 2).mean(0)
    return total, expected, total - expected


def _entropy(logs: Tensor, axis: int) -> Tensor:
    return -(logs.exp() * logs).sum(axis)
