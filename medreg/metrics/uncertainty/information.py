"""How much of an uncertainty of labels is about the model, and how much about the world."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Split(NamedTuple):
    """Entropies in nats, (*shape)."""

    total: Tensor  # of the mean prediction
    expected: Tensor  # mean of those of the samples: what no further data would take away
    mutual: Tensor  # the difference: what the samples disagree about


def uncertainty_split(probabilities: Tensor) -> Split:
    """Split the entropy of a predictive distribution into its expectation over the model and the mutual information.

    Args:
        probabilities: (K, C, *shape), for each of K samples the probabilities of C classes.

    Source: S. Depeweg et al., Decomposition of uncertainty in Bayesian deep learning, ICML 2018.
    """
    found = probabilities.double()
    total, expected = _entropy(found.mean(0), 0), _entropy(found, 1).mean(0)
    return Split(total, expected, (total - expected).clamp_min(0))


def _entropy(probabilities: Tensor, axis: int) -> Tensor:
    return torch.special.entr(probabilities).sum(axis)
