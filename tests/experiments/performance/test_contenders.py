"""Every installed package gives our values, so that nobody times another operator."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from experiments.performance.inputs import Inputs
from experiments.performance.operators import OPERATORS
from experiments.performance.peers import all_peers
from experiments.performance.peers.ours import Ours
from experiments.performance.sizes import Size
from experiments.performance.work import Agreement, difference

SIZE = Size(1, (28, 30, 32))
PAIRS = [(peer, name) for peer in all_peers() for name in peer.operators()]


@pytest.mark.parametrize(("peer", "operator"), PAIRS, ids=[f"{peer.name}-{name}" for peer, name in PAIRS])
@pytest.mark.filterwarnings("ignore")
def test_values_agree(peer, operator):
    if peer.missing:
        pytest.skip(peer.missing)
    inputs = Inputs(SIZE, labels=5, amplitude=0.5)
    ours, theirs = Ours().operators()[operator](inputs), peer.operators()[operator](inputs)
    assert (
        difference(ours.compared(), theirs.compared(), theirs.agreement, ndim=3) <= theirs.agreement.tolerance
    )
    assert math.isinf(theirs.agreement.tolerance) <= bool(theirs.agreement.reason)


@pytest.mark.parametrize("operator", OPERATORS)
def test_ours_has_every_operator_and_gradients_of_fields_and_losses(operator):
    work = Ours().operators()[operator](Inputs(Size(1, (16, 16, 16)), window=3, bins=8, labels=3))
    if work.leaves:
        work.with_backward()
        assert all(leaf.grad is not None and torch.isfinite(leaf.grad).all() for leaf in work.leaves)


def test_floors_grow_with_the_image():
    small, large = Inputs(Size(1, (16, 16, 16))), Inputs(Size(1, (32, 32, 32)))
    for operator in OPERATORS.values():
        for floor in (operator.floor, operator.both):
            assert floor(large).bytes > 6 * floor(small).bytes


def test_difference_sees_values_shapes_and_missing_numbers():
    ours = np.ones((1, 8, 8))
    ours[0, 0] = 5.0  # a border that other packages treat otherwise
    theirs = 2 * np.ones((1, 8, 8))
    assert difference(ours, theirs, Agreement(factor=2.0, margin=1), ndim=2) == 0
    assert difference(ours, theirs, Agreement(factor=2.0), ndim=2) == pytest.approx(0.8)
    assert math.isinf(difference(ours, theirs[:, 1:], Agreement(), ndim=2))
    theirs[0, 4, 4] = np.nan
    assert math.isinf(difference(ours, theirs, Agreement(factor=2.0, margin=1), ndim=2))


def test_labels_hold_every_structure():
    inputs = Inputs(Size(1, (32, 32, 32)))
    assert set(inputs.fixed_labels.unique().tolist()) == set(range(inputs.labels + 1))
