"""Short filters with zeros outside are convolutions, and so are their gradients."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from medreg.geometry.short_filter import filtered_with_zeros

WEIGHTS = (0.4, 0.2, 0.1)


@pytest.mark.parametrize("shape", [(2, 3, 7, 9), (1, 3, 5, 6, 7), (1, 2, 2, 9)])
def test_it_is_a_convolution(shape):
    field = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    line = torch.tensor([0.1, 0.2, 0.4, 0.2, 0.1], dtype=torch.float64)
    expected = field
    for axis in range(2, field.ndim):
        moved = expected.movedim(axis, -1)
        flat = F.conv1d(moved.reshape(-1, 1, moved.shape[-1]), line.view(1, 1, -1), padding=2)
        expected = flat.reshape(moved.shape).movedim(-1, axis)
    torch.testing.assert_close(filtered_with_zeros(field, WEIGHTS), expected)


def test_its_gradients_are_those_of_differences():
    field = torch.randn(1, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda one: filtered_with_zeros(one, WEIGHTS), field)
    assert torch.autograd.gradgradcheck(lambda one: filtered_with_zeros(one, WEIGHTS).square(), field)
