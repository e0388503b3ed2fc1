"""The U-Net of the AdvChain experiments: its size, its shapes, and that it learns in both dimensions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medreg.config.compose import compose
from medreg.config.instantiate import build
from medreg.errors import ConfigError
from medreg.models.unet16 import UNet16


def network(**changes):
    torch.manual_seed(0)
    options = {
        "ndim": 2, "in_channels": 1, "out_channels": 4, "width": 16, "norm": "batch", "dropout": 0.0,
    }  # fmt: skip
    return UNet16(**(options | changes))


def test_number_of_parameters_is_the_published_one():
    assert sum(p.numel() for p in network().parameters()) == 839_540


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_scores_have_the_shape_of_the_image_and_reach_every_parameter(ndim, norm):
    net = network(ndim=ndim, norm=norm, width=2, in_channels=2, out_channels=3, dropout=0.1)
    shape = (32, 48, 32)[:ndim]
    scores = net(torch.rand(2, 2, *shape))
    assert scores.shape == (2, 3, *shape)
    scores.square().mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())


def test_convolutions_start_as_kaiming_with_biases_of_zero():
    first = network().encoder[1][3]
    assert first.weight.std().item() == pytest.approx((2 / (9 * 32)) ** 0.5, rel=0.05)
    assert not first.bias.any()


def test_dropout_is_a_layer_only_where_it_is_asked_for():
    def kinds(p):
        return [type(part) for part in network(dropout=p, width=2).modules()]

    assert nn.Dropout2d not in kinds(0.0)
    assert kinds(0.2).count(nn.Dropout2d) == 9


def test_the_layout_in_memory_changes_nothing_but_rounding():
    net, image = network(width=4).eval(), torch.rand(2, 1, 32, 32)
    first = net.encoder[0](image)
    assert net(image).is_contiguous(memory_format=torch.channels_last)
    found, skips = first, [first]
    for level in list(net.encoder)[1:]:
        skips.append(level(net.pool(skips[-1])))
    found = skips.pop()
    for level in net.decoder:
        doubled = nn.functional.interpolate(found, scale_factor=2, mode="bilinear", align_corners=True)
        found = level(torch.cat((skips.pop(), doubled), 1))
    torch.testing.assert_close(net(image), net.last(found), atol=1e-5, rtol=1e-5)


def test_options_make_it():
    cfg = compose(["model=unet_16", "data=cardiac_phantom_segmentation", "model.width=8"])
    assert cfg.optimiser.lr == 1e-4
    assert cfg.task._target_.endswith("SegmentationTask")
    assert build(cfg.model)(torch.rand(1, 1, 16, 32)).shape == (1, 4, 16, 32)


@pytest.mark.parametrize(
    ("changes", "words"), [({"norm": "layer"}, "model.norm is 'layer'"), ({"width": 0}, "model.width is 0")]
)
def test_what_makes_no_network_is_refused(changes, words):
    with pytest.raises(ConfigError, match=words):
        network(**changes)
