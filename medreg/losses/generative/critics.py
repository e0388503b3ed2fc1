"""Adversarial terms: binary cross-entropy of a critic's logits."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits


def says_real(logit: Tensor) -> Tensor:
    """Return how far a critic is from calling all of it real: mean of −ln σ(logit), nats."""
    return binary_cross_entropy_with_logits(logit, torch.ones_like(logit))


def says_made(logit: Tensor) -> Tensor:
    """Return how far a critic is from calling all of it made: mean of −ln(1 − σ(logit)), nats."""
    return binary_cross_entropy_with_logits(logit, torch.zeros_like(logit))


def accuracy(real: Tensor, made: Tensor) -> Tensor:
    """Return the share of logits that a critic judges rightly, real and made counting alike; 0.5 is chance."""
    return 0.5 * ((real > 0).float().mean() + (made <= 0).float().mean())
