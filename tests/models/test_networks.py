"""VoxelMorph, midir and the identity: sizes, parameter counts, and what an untrained network answers."""

from __future__ import annotations

import pytest
import torch

from medreg.errors import CompositionError
from medreg.geometry.dense import Dense
from medreg.geometry.ffd import FreeForm, FreeFormVelocity
from medreg.geometry.svf import StationaryVelocity
from medreg.models.blocks.unet import UNet, pad_to_multiple
from medreg.models.identity import Identity
from medreg.models.midir import Midir
from medreg.models.voxelmorph import VoxelMorph

ENCODER = [16, 32, 32, 32, 32]
DECODER = [32, 32, 32, 32]


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def voxelmorph(ndim, transformation, *, scale=1e-3, encoder=ENCODER, decoder=DECODER, out=(16, 16)):
    return VoxelMorph(ndim, transformation, encoder=encoder, decoder=decoder, out=out, last_layer_scale=scale)


def midir(ndim, transformation, *, resize=(32, 16), scale=1e-3):
    return Midir(
        ndim,
        transformation,
        encoder=ENCODER,
        decoder=DECODER,
        resize_channels=resize,
        last_layer_scale=scale,
    )


@pytest.mark.parametrize(
    ("ndim", "out", "expected"),
    [(2, [16, 16], 106_866), (3, [16, 16], 320_419), (2, [], 98_194), (3, [], 295_331)],
)
def test_voxelmorph_parameter_counts(ndim, out, expected):
    assert count(voxelmorph(ndim, Dense(), out=out)) == expected


@pytest.mark.parametrize(
    ("stride", "resize", "in_2d", "in_3d"),
    [
        (2, [32, 16], 102_242, 306_579),
        (2, [32, 32], 107_154, 321_715),
        (3, [32, 16], 83_778, 251_251),
        (4, [32, 16], 83_778, 251_251),
        (4, [32, 32], 88_690, 266_387),
        (5, [32, 16], 65_314, 195_923),
        (8, [32, 32], 70_226, 211_059),
    ],
)
def test_midir_parameter_counts(stride, resize, in_2d, in_3d):
    assert count(midir(2, FreeForm(stride), resize=resize)) == in_2d
    assert count(midir(3, FreeFormVelocity(stride, 7), resize=resize)) == in_3d


def test_midir_control_grids():
    assert FreeForm(4).parameter_shape((160, 160)) == (2, 43, 43)
    assert FreeForm(4).parameter_shape((176, 192, 176)) == (3, 47, 51, 47)


@pytest.mark.parametrize("shape", [(32, 32), (37, 50), (16, 20, 9)])
@pytest.mark.parametrize(
    "transformation", [Dense(), StationaryVelocity(4), FreeForm(4), FreeFormVelocity(3, 4)]
)
def test_voxelmorph_answers_any_size_near_the_identity(shape, transformation):
    torch.manual_seed(0)
    model = voxelmorph(len(shape), transformation, encoder=[4, 4, 4], decoder=[4, 4], out=[4])
    answer = model(torch.rand(2, 1, *shape), torch.rand(2, 1, *shape))
    assert answer.displacement.shape == answer.regularised.shape == (2, len(shape), *shape)
    assert tuple(answer.parameters.shape[1:]) == transformation.parameter_shape(shape)
    assert answer.displacement.abs().max() < 0.1
    assert answer.deformation.displacement is answer.displacement


@pytest.mark.parametrize(("shape", "stride"), [((32, 32), 4), ((37, 50), 3), ((16, 20, 9), 2), ((33, 40), 9)])
def test_midir_answers_control_points_of_any_size(shape, stride):
    torch.manual_seed(0)
    model = midir(len(shape), FreeFormVelocity(stride, 4))
    answer = model(torch.rand(1, 1, *shape), torch.rand(1, 1, *shape))
    assert tuple(answer.parameters.shape[1:]) == model.transformation.parameter_shape(shape)
    assert answer.displacement.abs().max() < 0.1
    # A regulariser must see the velocity, not the displacement.
    expected = model.transformation(answer.parameters, shape)
    torch.testing.assert_close(answer.regularised, expected.regularised)
    assert not torch.equal(answer.regularised, answer.displacement)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_networks_infer_without_gradients(mode):
    torch.manual_seed(0)
    model = midir(2, FreeFormVelocity(4, 7)).eval()
    images = torch.rand(1, 1, 24, 24), torch.rand(1, 1, 24, 24)
    with mode():
        answer = model(*images).displacement
    torch.testing.assert_close(answer.clone(), model(*images).displacement.detach())


def test_padding_repeats_the_border_and_changes_nothing_that_fits():
    image = torch.arange(12.0).reshape(1, 1, 3, 4)
    assert pad_to_multiple(image, 1) is image
    padded = pad_to_multiple(image, 4)
    assert padded.shape == (1, 1, 4, 4)
    torch.testing.assert_close(padded[:, :, 3], image[:, :, 2])


def test_unet_gradients_reach_every_weight():
    torch.manual_seed(0)
    network = UNet(2, [4, 4, 4], decoder=[4, 4], out=[4], last_layer_scale=1.0)
    network(torch.rand(1, 2, 19, 22)).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_unet_needs_matching_levels():
    with pytest.raises(ValueError, match="decoder needs 2 levels"):
        UNet(2, [4, 4, 4], decoder=[4], out=[], last_layer_scale=1.0)


def test_identity_is_zero_and_has_nothing_to_train():
    model = Identity()
    image = torch.rand(2, 1, 5, 6, 7)
    answer = model(image, image)
    assert torch.equal(answer.displacement, torch.zeros(2, 3, 5, 6, 7))
    assert not model.trainable
    assert not list(model.parameters())


def test_wrong_dimension_and_unequal_shapes_are_explained():
    image = torch.rand(1, 1, 16, 16)
    with pytest.raises(CompositionError, match="3-D images"):
        voxelmorph(3, Dense())(image, image)
    with pytest.raises(CompositionError, match="differ in shape"):
        Identity()(image, torch.rand(1, 1, 16, 17))


def test_half_precision_images_give_single_precision_fields(gradirn):
    image = torch.rand(1, 1, 24, 24)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        answers = [
            model(image, image.flip(-1)).displacement
            for model in (voxelmorph(2, Dense()), midir(2, FreeForm(4)), gradirn())
        ]
    assert [answer.dtype for answer in answers] == [torch.float32] * 3
    assert gradirn()(image.half(), image.half().flip(-1)).displacement.dtype == torch.float32
