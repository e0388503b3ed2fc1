"""The average of weights: its formula, its start, and that it answers as in evaluation."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medreg.errors import ConfigError
from medreg.tasks.weight_average import WeightAverage


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Dropout(0.5))


def test_weights_and_running_statistics_follow_by_the_formula():
    network = model()
    average = WeightAverage(network, 0.9, option="task.ema")
    expected = {key: value.double().clone() for key, value in average.network.state_dict().items()}
    for number in range(1, 31):
        network.train()(torch.rand(2, 1, 4, 4))
        with torch.no_grad():
            network[0].weight.add_(0.1 * number)
        average.update(network)
        decay = min(0.9, 1 - 1 / (number + 1))
        for key, value in network.state_dict().items():
            whole = not value.is_floating_point()
            expected[key] = value.double() if whole else decay * expected[key] + (1 - decay) * value.double()
    for key, value in average.network.state_dict().items():
        torch.testing.assert_close(value.double(), expected[key], atol=1e-5, rtol=1e-5)
    assert average.network[1].num_batches_tracked == 30
    assert not any(p.requires_grad for p in average.parameters())


def test_it_begins_with_the_weights_of_a_warm_start_but_goes_on_where_it_was_after_one_step():
    network = model()
    average = WeightAverage(network, 0.9, option="task.ema")
    nn.init.constant_(network[0].weight, 7.0)
    average.begin(network)
    assert (average.network[0].weight == 7).all()
    average.update(network)
    nn.init.constant_(network[0].weight, 9.0)
    average.begin(network)
    assert (average.network[0].weight == 7).all()


def test_it_answers_as_in_evaluation():
    average = WeightAverage(model(), 0.9, option="task.ema").train()
    image = torch.rand(2, 1, 4, 4, requires_grad=True)
    first, second = average(image), average(image)
    assert torch.equal(first, second)
    assert not first.requires_grad
    assert not average.network[1].num_batches_tracked


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_another_decay_is_refused(decay):
    with pytest.raises(ConfigError, match=r"semi\.decay is"):
        WeightAverage(model(), decay, option="semi.decay")
