"""Cross-entropy from bytes: torch's values and gradients in every layout and precision, and nothing kept beside."""

from __future__ import annotations

import math

import pytest
import torch

from medreg.losses.generative import class_entropy as module
from medreg.losses.generative.class_entropy import class_entropy


def example(size=(5, 6, 4), count=3):
    chance = torch.Generator().manual_seed(1)
    scores = 2 * torch.randn(count, 4, *size, generator=chance)
    return scores, torch.randint(0, 4, (count, *size), generator=chance).to(torch.uint8)


@pytest.mark.parametrize("innermost", [False, True])
@pytest.mark.parametrize("weights", [None, (1.0, 2.0, 2.0, 0.0)])
@pytest.mark.parametrize("at_once", [1000, 300, 30])  # all hearts, one at a time, slabs of one
def test_values_and_gradients_are_those_of_torch(monkeypatch, innermost, weights, at_once):
    monkeypatch.setattr(module, "_AT_ONCE", at_once)
    scores, classes = example()
    if innermost:
        scores = scores.movedim(1, -1).contiguous().movedim(-1, 1)
    scores.requires_grad_()
    given = None if weights is None else torch.tensor(weights)
    expected = torch.nn.functional.cross_entropy(scores, classes.long(), weight=given)
    found = class_entropy(scores, classes, weights)
    torch.testing.assert_close(found, expected)
    (one,), (other,) = (torch.autograd.grad(3 * value, scores) for value in (found, expected))
    torch.testing.assert_close(one, other)
    assert one.stride() == scores.stride()


def test_uniform_scores_cost_the_logarithm_of_the_classes():
    _, classes = example()
    assert float(class_entropy(torch.zeros(3, 4, 5, 6, 4), classes, None)) == pytest.approx(math.log(4))


def test_half_precision_is_summed_in_single():
    scores, classes = example()
    rough = scores.bfloat16().requires_grad_()
    found = class_entropy(rough, classes, None)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, torch.nn.functional.cross_entropy(rough.float(), classes.long()))
    assert torch.autograd.grad(found, rough)[0].dtype == torch.bfloat16


def test_nothing_is_kept_but_what_was_given():
    scores, classes = example()
    scores.requires_grad_()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda each: kept.append(each.numel()) or each, lambda each: each
    ):
        class_entropy(scores, classes, None)
    assert sorted(kept) == [1, classes.numel(), scores.numel()]
