"""How a weight grows over the first epochs of a training."""

from __future__ import annotations

import math


def linear(epoch: int, length: int) -> float:
    """Share of a weight in an epoch, min((epoch + 1) / length, 1); 1 where the length is 0.

    Source: the released AdvChain experiment script, length 200 in semi-supervised training.

    Args:
        epoch: from 0.
        length: epochs.
    """
    return 1.0 if length <= 0 else min((epoch + 1) / length, 1.0)


def sigmoid(epoch: int, length: int) -> float:
    """Share of a weight in an epoch, exp(−5 (1 − t)²) with t = min(epoch / length, 1); 1 where the length is 0.

    Source: Laine and Aila 2017; Tarvainen and Valpola 2017, released code.

    Args:
        epoch: from 0.
        length: epochs.
    """
    if length <= 0:
        return 1.0
    return math.exp(-5.0 * (1.0 - min(epoch / length, 1.0)) ** 2)
