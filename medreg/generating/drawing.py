"""Seeds of hearts that are drawn: each has its own, so that more hearts begin with the same ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from medreg.errors import CheckpointError


def generator_of(seed: int, number: int) -> torch.Generator:
    """Return the generator of a heart by the seed of the user and its number."""
    state = np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))


def one_heart(answer: Callable[[], Tensor], run: str) -> np.ndarray:
    """Return the one heart of an answer of a model, (T, X, Y, Z) uint8.

    Args:
        answer: asks the model.
        run: where it comes from, for the message.

    Raises:
        CheckpointError: it is no batch of one heart.
    """
    with torch.no_grad():
        found = answer()
    shape = found.detach().cpu().numpy().astype(np.uint8)
    if shape.ndim != 5 or len(shape) != 1:
        raise CheckpointError(f"The model of {run} answers with shape {shape.shape}, not with one heart.")
    return np.ascontiguousarray(shape[0])
