"""Maps of region weights against direct lookup, and the range of training."""

from __future__ import annotations

import pytest
import torch

from medreg.errors import ConfigError
from medreg.models.conditional import SmoothnessRange, region_map


def test_region_map_equals_lookup() -> None:
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(0, 5, (2, 1, 6, 7), generator=generator)
    weights = torch.rand(2, 5, generator=generator, dtype=torch.float64)
    expected = torch.stack([weights[b][labels[b]] for b in range(2)])
    assert torch.equal(region_map(labels, weights), expected)
    assert torch.equal(region_map(labels, weights[0]), weights[0][labels])


def test_region_map_is_differentiable_in_the_weights() -> None:
    labels = torch.tensor([[[[0, 1, 1], [2, 2, 2]]]])
    weights = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    region_map(labels, weights).sum().backward()
    assert weights.grad is not None
    assert weights.grad.tolist() == [1.0, 2.0, 3.0]


def test_a_label_without_weight_is_named() -> None:
    with pytest.raises(ConfigError, match=r"labels 0 to 3.*0 to 2"):
        region_map(torch.tensor([[[0, 3]]]), torch.zeros(3))


def test_range_of_weights() -> None:
    trained = SmoothnessRange(low=0.1, high=1.0)
    assert trained.contains(torch.tensor([0.1, 1.0]))
    assert not trained.contains(torch.tensor([0.5, 1.1]))
    with pytest.raises(ConfigError, match="lower end"):
        SmoothnessRange(low=1.0, high=1.0)
