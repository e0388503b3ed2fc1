"""A resumed run draws what an uninterrupted one would have drawn."""

from __future__ import annotations

import io
import random

import numpy as np
import torch

from medreg.callbacks.random_state import RandomState


def draw():
    return torch.rand(3).tolist(), np.random.rand(3).tolist(), [random.random() for _ in range(3)]  # noqa: NPY002


def test_states_survive_a_weights_only_checkpoint():
    random.gauss(0, 1)
    buffer = io.BytesIO()
    torch.save(RandomState().state_dict(), buffer)
    expected = draw()
    draw()
    buffer.seek(0)
    RandomState().load_state_dict(torch.load(buffer, weights_only=True))
    assert draw() == expected
