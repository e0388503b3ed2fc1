"""Activations that are computed again: the same gradients, from half of the convolutions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medreg.errors import ConfigError
from medreg.models.blocks.conv import convolution_relu, last_convolution
from medreg.models.blocks.recompute import every_other_kept


def layers(ndim, convolutions):
    hidden = [convolution_relu(ndim, 4, 4) for _ in range(convolutions - 1)]
    return [part for layer in hidden for part in layer] + [last_convolution(ndim, 4, 2, scale=1.0)]


def gradients(run, modules, image):
    image = image.clone().requires_grad_(True)
    parameters = [p for module in modules for p in module.parameters()]
    output = run(image)
    return output, torch.autograd.grad(output.square().sum(), [image, *parameters])


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("convolutions", [1, 2, 3, 4, 5])
def test_value_and_gradients_are_those_of_the_layers_in_a_row(ndim, convolutions):
    torch.manual_seed(0)
    modules, image = layers(ndim, convolutions), torch.randn(2, 4, *(7, 6, 5)[:ndim])
    plain, expected = gradients(nn.Sequential(*modules), modules, image)
    kept, found = gradients(lambda x: every_other_kept(modules, x), modules, image)
    assert torch.equal(kept, plain)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_the_first_and_third_of_five_convolutions_run_twice():
    modules, runs = layers(2, 5), [0] * 5
    for number, module in enumerate(modules[::2]):

        def count(*_, number=number):
            runs[number] += 1

        module.register_forward_hook(count)
    gradients(lambda x: every_other_kept(modules, x), modules, torch.randn(1, 4, 6, 6))
    assert runs == [2, 1, 2, 1, 1]


def test_half_of_the_activations_are_kept():
    modules, image = layers(2, 5), torch.randn(1, 4, 32, 32)

    def kept(run):
        saved = {}

        def pack(tensor):
            if tensor.shape == image.shape:
                saved[tensor.data_ptr()] = tensor.detach()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            output = run(image * 1.0)
        return len(saved), output

    # input and four activations; the input and two of them
    assert kept(lambda x: nn.Sequential(*modules)(x.requires_grad_(True)))[0] == 5
    assert kept(lambda x: every_other_kept(modules, x.requires_grad_(True)))[0] == 3


def test_another_word_than_all_is_an_error(gradirn):
    with pytest.raises(ConfigError, match=r"model\.checkpoint=none"):
        gradirn(checkpoint="none")
