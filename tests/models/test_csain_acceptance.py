"""CSAIN: what its conditioning and its pyramid must do before any training."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from medreg.errors import CompositionError
from medreg.geometry.dense import Dense
from medreg.geometry.svf import StationaryVelocity
from medreg.models.blocks.conditioning import InstanceConditioned, SpatiallyAdaptive, Unconditioned
from medreg.models.blocks.laplacian import LaplacianPyramid, double
from medreg.models.blocks.modulated_norm import Modulation, modulated_norm, reference
from medreg.models.csain import ConditionalPyramid
from medreg.models.hypermorph import HyperMorph
from medreg.models.lapirn import LapIRN
from medreg.models.voxelmorph import VoxelMorph

SC = 2
DIMENSIONS = pytest.mark.parametrize("ndim", [2, 3])


def conditioning(ndim, *, finest=False, **options):
    torch.manual_seed(1)
    return SpatiallyAdaptive(ndim, SC, layers=4, finest=finest, **options).double()


def pyramid(ndim=2, *, kind=SpatiallyAdaptive, scale=1.0, transformation=None, **changes):
    torch.manual_seed(2)
    settings = {
        "start_channels": SC, "levels": 3, "blocks": 1, "range_flow": 0.4, "upsampling": "exact",
        "last_layer_scale": scale,
    }  # fmt: skip
    where = transformation or Dense()
    if kind is Unconditioned:
        return LapIRN(ndim, where, **(settings | changes))
    extra = {"conditioning": kind, "smoothness_range": (0.0, 1.0), "smoothness": 0.2}
    return ConditionalPyramid(ndim, where, **(settings | extra | changes))


def images(*shape, batch=2):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, batch, 1, *shape, generator=generator).unbind(0)


def all_maps(layer, weight):
    return torch.stack([torch.stack((m.scale, m.shift)) for m in layer(weight)])


# A1: a uniform map gives constant modulations, as CIN has


@DIMENSIONS
def test_uniform_map_is_instance_conditioning(ndim):
    shape = (9, 8, 7)[:ndim]
    weight = torch.full((1, 1, *shape), 0.7, dtype=torch.float64)
    features = torch.randn(1, 4 * SC, *shape, dtype=torch.float64)
    inner = (..., *[slice(2, -2)] * ndim)
    for modulation in conditioning(ndim)(weight):
        middle = [part[inner] for part in (modulation.scale, modulation.shift)]
        numbers = [part.flatten(2)[:, :, :1].view(1, -1, *[1] * ndim) for part in middle]
        for part, number in zip(middle, numbers, strict=True):
            assert (part - number).abs().max() < 1e-6
        ours = modulated_norm(features, modulation)[inner]
        cin = modulated_norm(features, Modulation(*numbers))[inner]
        assert (ours - cin).abs().max() < 1e-5
    assert (all_maps(conditioning(ndim), weight)[..., 0] - numbers[0].mean()).abs().max() > 1e-3  # the frame


# A2: λ = 0 is plain instance normalisation


@DIMENSIONS
@pytest.mark.parametrize("finest", [False, True])
def test_zero_weight_modulates_nothing(ndim, finest):
    maps = all_maps(conditioning(ndim, finest=finest), torch.zeros(1, 1, *[6] * ndim, dtype=torch.float64))
    assert torch.equal(maps, torch.zeros_like(maps))


def test_zero_weight_is_the_unconditioned_pyramid():
    conditional, plain = pyramid(), pyramid(kind=Unconditioned)
    known = plain.state_dict()
    known.update({k: v for k, v in conditional.state_dict().items() if "conditioning" not in k})
    plain.load_state_dict(known)
    fixed, moving = images(32, 40)
    answer = conditional(fixed, moving, smoothness=torch.zeros(2)).displacement
    torch.testing.assert_close(answer, plain(fixed, moving).displacement)
    other = conditional(fixed, moving, smoothness=torch.ones(2)).displacement
    assert (answer - other).abs().max() > 1e-2


# A3: homogeneity


@DIMENSIONS
@pytest.mark.parametrize("factor", [0.1, 2.3])
def test_modulations_are_homogeneous(ndim, factor):
    weight = torch.rand(2, 1, *[6] * ndim, dtype=torch.float64)
    layer = conditioning(ndim)
    expected = factor * all_maps(layer, weight)
    assert (all_maps(layer, factor * weight) - expected).abs().max() < 1e-5 * expected.abs().max()


def test_mapping_makes_the_modulations_inhomogeneous():
    weight = torch.rand(1, 1, 6, 6, dtype=torch.float64)
    layer = conditioning(2, mapping=True)
    assert (all_maps(layer, 2 * weight) - 2 * all_maps(layer, weight)).abs().max() > 1e-3


# A4: locality


@DIMENSIONS
def test_one_voxel_changes_a_window_of_five(ndim):
    weight = torch.rand(1, 1, *[11] * ndim, dtype=torch.float64)
    layer = conditioning(ndim)
    moved = weight.clone()
    moved[(0, 0, *[5] * ndim)] += 1.0
    changed = (all_maps(layer, moved) - all_maps(layer, weight)).abs().flatten(0, 3).amax(0) > 0
    expected = torch.zeros_like(changed)
    expected[(slice(3, 8),) * ndim] = True
    assert torch.equal(changed, expected)


# A7: parameter counts and bounds


def test_parameter_counts_of_the_releases():
    counts = {}
    for name, kind in (("csain", SpatiallyAdaptive), ("cin", InstanceConditioned)):
        with torch.device("meta"):
            network = pyramid(kind=kind, start_channels=64, blocks=5).network
        counts[name] = [sum(p.numel() for p in level.parameters()) for level in network.levels]
    assert counts["csain"] == [14_429_440, 14_434_048, 14_434_048]
    assert counts["cin"] == [8_924_736, 8_929_344, 8_929_344]
    assert sum(counts["csain"]) == 43_297_536
    assert sum(counts["cin"]) == 26_783_424


@DIMENSIONS
def test_displacements_are_bounded(ndim):
    shape = (32, 24, 40)[:ndim]
    model = pyramid(ndim, scale=1e4)
    fields = model(*images(*shape)).steps
    for field, bound, stride in zip(fields, (0.4, 0.8, 1.2), (4, 2, 1), strict=True):
        half = torch.tensor([(size // stride - 1) / 2 for size in shape]).view(1, -1, *[1] * ndim)
        assert 0.9 * bound < (field / half).abs().max() < bound * (1.08 if stride < 4 else 1.0)


# beyond the paper's checks


@pytest.mark.parametrize("kind", [SpatiallyAdaptive, InstanceConditioned, Unconditioned])
@pytest.mark.parametrize("shape", [(16, 16), (33, 20), (9, 11), (17, 12, 10)])
def test_any_size(kind, shape):
    model = pyramid(len(shape), kind=kind)
    answer = model(*images(*shape))
    assert [tuple(s.shape[2:]) for s in answer.steps] == [
        tuple(-(-n // stride) for n in shape) for stride in (4, 2, 1)
    ]
    assert torch.isfinite(answer.displacement).all()


def test_padding_does_not_reach_far():
    model = pyramid(scale=1e-3)
    fixed, moving = images(40, 48)
    whole = model(fixed, moving, smoothness=torch.full((2, 1, 40, 48), 0.3)).displacement
    assert torch.equal(whole, model(fixed, moving, smoothness=torch.full((2,), 0.3)).displacement)


def test_exact_doubling_keeps_linear_fields():
    x = torch.arange(6, dtype=torch.float64).view(1, 1, 6, 1).expand(1, 2, 6, 5) * 0.25
    finer = double(x, upsampling="exact")
    expected = torch.arange(11, dtype=torch.float64).view(1, 1, 11, 1).expand(1, 2, 11, 10) * 0.25
    torch.testing.assert_close(finer[:, :, :11], expected)
    assert torch.equal(finer[:, :, 11], finer[:, :, 10])


def test_authors_doubling_is_interpolation_in_units_of_half_images():
    field = torch.randn(1, 2, 6, 5, dtype=torch.float64)
    half = torch.tensor([2.5, 2.0], dtype=torch.float64).view(1, 2, 1, 1)
    finer = torch.tensor([5.5, 4.5], dtype=torch.float64).view(1, 2, 1, 1)
    expected = F.interpolate(field / half, scale_factor=2, mode="bilinear") * finer
    torch.testing.assert_close(double(field, upsampling="authors"), expected)


@DIMENSIONS
def test_norm_equals_its_formula_and_torch(ndim):
    shape = (2, 3, 5, 4, 3)[: ndim + 2]
    features, scale, shift = torch.randn(3, *shape, dtype=torch.float64)
    modulation = Modulation(scale, shift)
    torch.testing.assert_close(modulated_norm(features, modulation), reference(features, modulation))
    torch.testing.assert_close(modulated_norm(features, None), F.instance_norm(features))


@pytest.mark.parametrize("spatial", [True, False])
def test_gradient_of_the_norm(spatial):
    shape = (2, 2, 4, 3)
    features = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    scale, shift = (
        torch.randn(shape if spatial else (2, 2, 1, 1), dtype=torch.float64, requires_grad=True)
        for _ in range(2)
    )
    assert torch.autograd.gradcheck(
        lambda f, a, b: modulated_norm(f, Modulation(a, b)), (features, scale, shift)
    )
    assert torch.autograd.gradcheck(lambda f: modulated_norm(f, None), (features,))


def test_velocities_are_integrated():
    fixed, moving = images(32, 32)
    model = pyramid(transformation=StationaryVelocity(steps=5))
    answer = model(fixed, moving)
    assert not torch.equal(answer.displacement, answer.regularised)
    assert torch.equal(answer.steps[-1], answer.displacement)


def test_map_and_number_reach_the_network_and_have_gradients():
    model = pyramid()
    fixed, moving = images(32, 32)
    weight = torch.full((2, 1, 32, 32), 0.3, requires_grad=True)
    model(fixed, moving, smoothness=weight).displacement.square().sum().backward()
    assert weight.grad is not None
    assert weight.grad[:, :, ::2, ::2].abs().min() > 0  # the levels see every second voxel of their grids
    assert weight.grad[:, :, 1::2].abs().max() == 0


def test_wrong_weights_are_named():
    fixed, moving = images(32, 32)
    with pytest.raises(CompositionError, match=r"λ has shape \(2, 1, 16, 16\)"):
        pyramid()(fixed, moving, smoothness=torch.zeros(2, 1, 16, 16))
    with pytest.raises(CompositionError, match="one λ a pair"):
        pyramid(kind=InstanceConditioned)(fixed, moving, smoothness=torch.zeros(2, 1, 32, 32))


# HyperMorph


def hypermorph():
    return HyperMorph(
        2,
        Dense(),
        encoder=[4, 4],
        decoder=[4],
        out=[4],
        last_layer_scale=1e-3,
        hyper_layers=6,
        hyper_units=8,
        spread=0.1,
        smoothness_range=(0.0, 1.0),
        smoothness=0.2,
    )


def test_hypernetwork_starts_from_a_voxelmorph():
    torch.manual_seed(4)
    model = hypermorph()
    named = model.hypernetwork(torch.tensor(0.3))
    plain = VoxelMorph(2, Dense(), encoder=[4, 4], decoder=[4], out=[4], last_layer_scale=1.0)
    plain.network.load_state_dict({name: value.detach() for name, value in named.items()})
    fixed, moving = images(20, 18)
    expected = plain(fixed, moving).displacement
    torch.testing.assert_close(model(fixed, moving, smoothness=torch.full((2,), 0.3)).displacement, expected)


def test_hypernetwork_gives_each_pair_its_own_network():
    torch.manual_seed(4)
    model = hypermorph()
    fixed, moving = images(20, 18)
    both = model(fixed, moving, smoothness=torch.tensor([0.1, 0.9])).displacement
    for k, weight in enumerate((0.1, 0.9)):
        alone = model(fixed[k : k + 1], moving[k : k + 1], smoothness=torch.tensor([weight])).displacement
        torch.testing.assert_close(both[k : k + 1], alone)
    same = model(fixed, moving, smoothness=torch.tensor([0.9, 0.9])).displacement
    assert not torch.equal(both[0], same[0])
    both.square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_hypermorph_refuses_maps():
    fixed, moving = images(20, 18)
    with pytest.raises(CompositionError, match="one λ a pair"):
        hypermorph()(fixed, moving, smoothness=torch.zeros(2, 1, 20, 18))


def test_pyramid_of_other_depth():
    network = LaplacianPyramid(
        2, SC, levels=2, blocks=2, range_flow=0.2, conditioning=Unconditioned, upsampling="exact",
        last_layer_scale=1.0,
    )  # fmt: skip
    assert network.strides == (2, 1)
    assert network.multiple == 4
