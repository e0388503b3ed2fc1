"""The decoder: its fast transposed convolution is torch's, its memory can be saved, its norm has three forms."""

from __future__ import annotations

import pytest
import torch
from beating_hearts import SIZE
from torch import nn

from medreg.models.hearts.decoder import FrameDecoder
from medreg.models.hearts.doubling import Doubling


def decoder_of(*, norm="batch", recompute=False, seed=0, **options):
    torch.manual_seed(seed)
    given = {"outputs": 4, "size": SIZE, "n_up": 3, "filters": 4, **options}
    return FrameDecoder(9, norm=norm, recompute=recompute, **given)


@pytest.mark.parametrize(
    ("inputs", "outputs", "size"), [(8, 4, (4, 4, 2)), (5, 3, (1, 2, 3)), (4, 4, (6, 5, 4))]
)
def test_doubling_is_the_transposed_convolution(inputs, outputs, size):
    torch.manual_seed(inputs)
    ours, plain = Doubling(inputs, outputs), nn.ConvTranspose3d(inputs, outputs, 4, stride=2, padding=1)
    plain.load_state_dict(ours.state_dict())
    image = torch.randn(2, inputs, *size, requires_grad=True)
    found, expected = ours(image), plain(image)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    weights = torch.randn_like(expected)
    mine = torch.autograd.grad((found * weights).sum(), [image, *ours.parameters()])
    theirs = torch.autograd.grad((expected * weights).sum(), [image, *plain.parameters()])
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_doubling_in_half_precision_and_double_is_torchs():
    layer, image = Doubling(4, 3), torch.randn(1, 4, 4, 4, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(image).dtype == torch.bfloat16
    exact = layer.double()(image.double())
    assert exact.dtype == torch.float64
    assert exact.shape == (1, 3, 8, 8, 8)


def test_fixed_parts_need_no_gradient():
    layer = Doubling(4, 3).requires_grad_(False)
    image = torch.randn(1, 4, 2, 2, 2, requires_grad=True)
    layer(image).sum().backward()
    assert image.grad is not None
    assert layer.weight.grad is None


def plain_decoding(decoder, codes):
    """The same network written as the release has it, on frames as one batch."""
    features = decoder.linear(codes).view(-1, *decoder.start)
    for place, up in enumerate(decoder.ups):
        features = nn.functional.conv_transpose3d(features, up.weight, up.bias, stride=2, padding=1)
        if place < len(decoder.norms):
            features = nn.functional.leaky_relu(decoder.norms[place](features), 0.2)
    return features


def test_it_is_the_released_network():
    decoder, codes = decoder_of(), torch.randn(2, 3, 9)
    found = decoder(codes)
    assert found.shape == (2, 3, 4, *SIZE)
    torch.testing.assert_close(
        found.flatten(0, 1), plain_decoding(decoder, codes.flatten(0, 1)), rtol=1e-4, atol=1e-5
    )


def test_released_normalisation_takes_each_frame_alone():
    decoder, codes = decoder_of(norm="per_frame"), torch.randn(4, 3, 9)
    found = decoder(codes)
    for frame in range(3):
        torch.testing.assert_close(
            found[:, frame], plain_decoding(decoder, codes[:, frame]), rtol=1e-4, atol=1e-5
        )
    together = decoder_of()(codes)
    assert float((together - found).detach().abs().max()) > 0.01
    torch.testing.assert_close(decoder_of(norm="per_frame").eval()(codes), decoder_of().eval()(codes))


def test_group_normalisation_depends_on_no_other_heart():
    decoder, codes = decoder_of(norm="group"), torch.randn(4, 2, 9)
    torch.testing.assert_close(decoder(codes)[:1], decoder(codes[:1]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", ["batch", "per_frame", "group"])
def test_recomputing_changes_nothing(norm):
    """Neither scores, gradients nor the statistics that evaluation will use."""
    codes, found = torch.randn(3, 2, 9), []
    for recompute in (False, True):
        decoder = decoder_of(norm=norm, recompute=recompute)
        decoder(codes).square().mean().backward()
        state = {name: value.clone() for name, value in decoder.state_dict().items()}
        found.append((state, [parameter.grad for parameter in decoder.parameters()]))
    (plain_state, plain_gradients), (state, gradients) = found
    assert all(torch.equal(plain_state[name], state[name]) for name in plain_state)
    for one, other in zip(plain_gradients, gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_recomputing_keeps_fewer_arrays():
    kept = []
    for recompute in (False, True):
        sizes = []
        decoder, codes = decoder_of(recompute=recompute), torch.randn(2, 2, 9, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(
            lambda x, s=sizes: (s.append(x.numel()), x)[1], lambda x: x
        ):
            decoder(codes)
        kept.append(sum(sizes))
    assert kept[1] < 0.2 * kept[0]
