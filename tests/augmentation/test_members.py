"""What all members promise: an identity, bounds, derivatives, samples and chance of their own, and a way back."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from medreg.augmentation.affine import AffineMap
from medreg.augmentation.bias import BiasField
from medreg.augmentation.geometric import Geometric
from medreg.augmentation.member import Member
from medreg.augmentation.morph import Morph
from medreg.augmentation.noise import Noise
from medreg.io.image import read_labels

KINDS = {"noise": Noise, "bias": BiasField, "affine": AffineMap, "morph": Morph}
SHAPES = [(48, 48), (40, 64), (24, 20, 10)]


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(params=[(name, preset) for name in KINDS for preset in ("paper", "release")], ids="-".join)
def kind(request):
    name, preset = request.param
    return getattr(KINDS[name], preset)


def random_image(shape, count=3, channels=2, dtype=torch.float32):
    return torch.rand(count, channels, *shape, generator=chance(), dtype=dtype)


def test_members_are_values():
    """As a YAML file makes them, with lists, they can be compared and hashed."""
    made = [
        Morph.paper(3, stride=[8, 8, 2]),
        Morph.paper(3, stride=(8, 8, 2)),
        BiasField.paper(2, ignore=[0], spacing=[0.5, 0.25]),
    ]
    made += [AffineMap.paper(2, scale=[0.1, 0.2], spacing_mm=[1, 2]), Noise.paper(2, ignore=[0, 1])]
    assert len({*made}) == 4


@pytest.mark.parametrize("shape", SHAPES)
def test_the_identity_changes_nothing(kind, shape):
    member, image = kind(len(shape)), random_image(shape)
    phi = member.identity(image)
    assert float((member.apply(image, phi) - image).abs().max()) <= 1e-6
    assert float((member.invert(image, phi) - image).abs().max()) <= 1e-6
    assert torch.equal(member.project(phi), phi)
    if isinstance(member, Geometric):
        assert float(member.displacement(phi, shape).abs().max()) <= 1e-6


@pytest.mark.parametrize("shape", SHAPES)
def test_chance_comes_from_the_generator_alone_and_draws_lie_within_bounds(kind, shape):
    member, image = kind(len(shape)), random_image(shape)
    state = torch.random.get_rng_state()
    first, again, other = (member.draw(image, generator=chance(seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(first, again)
    assert (first != other).any()
    assert len(first) == len(image)
    assert first.shape == member.identity(image).shape
    torch.testing.assert_close(member.project(first), first)
    assert (member.apply(image, first) - image).abs().flatten(1).amax(1).min() > 1e-3


def test_every_sample_has_parameters_of_its_own(kind):
    member, image = kind(2), random_image((40, 64))
    phi = member.draw(image, generator=chance(1))
    for function in (member.apply, member.carry, member.invert):
        together = function(image, phi)
        for k in range(len(image)):
            torch.testing.assert_close(function(image[k : k + 1], phi[k : k + 1]), together[k : k + 1])
    assert torch.equal(member.ascend(phi, torch.zeros_like(phi), step=1.0), phi)


def test_autocast_does_not_blur_what_moves(kind):
    member, image = kind(2), random_image((192, 192))
    phi = member.draw(image, generator=chance(1))
    expected = [function(image, phi) for function in (member.apply, member.invert)]
    with torch.autocast("cpu", torch.bfloat16):
        found = [function(image, phi) for function in (member.apply, member.invert)]
    assert all(torch.equal(one, two) for one, two in zip(found, expected, strict=True))


def test_only_geometric_members_move_scores(kind):
    member, scores = kind(2), random_image((40, 64))
    phi = member.draw(scores, generator=chance(1))
    moved = [not torch.equal(function(scores, phi), scores) for function in (member.carry, member.invert)]
    assert moved == [member.geometric] * 2
    assert member.geometric == isinstance(member, Geometric)


def test_a_step_has_its_length_for_each_sample(kind):
    member, image = kind(2), random_image((40, 64))
    phi = member.draw(image, generator=chance(1))
    sizes = torch.tensor([1e-25, 1.0, 1e5]).reshape(-1, *[1] * (phi.ndim - 1))
    gradient = torch.randn(phi.shape, generator=chance(2)) * sizes
    step = member.ascend(phi, gradient, step=0.3) - phi
    expected = 0.3 * (phi[0].numel() ** 0.5 if isinstance(member, AffineMap) else 1.0)
    assert step.flatten(1).norm(dim=1).tolist() == pytest.approx([expected] * 3, rel=1e-3)
    for found in (step, member.probe(phi, gradient)):
        assert ((found * gradient.sign()).flatten(1).sum(1) > 0).all()
    near, far = (float((member.apply(image, one) - image).abs().mean()) for one in (member.nearby(phi), phi))
    assert near < 0.7 * far


@pytest.mark.parametrize("shape", [(9, 8), (7, 6, 5)])
def test_derivatives_in_parameters_and_image(kind, shape):
    changes = {"stride": 3} if kind.__self__ is Morph else {}
    member, image = kind(len(shape), **changes), random_image(shape, count=2, channels=1, dtype=torch.float64)
    phi = 0.7 * member.draw(image, generator=chance(3))
    assert phi.dtype == torch.float64
    phi, image = phi.requires_grad_(), image.requires_grad_()
    assert torch.autograd.gradcheck(member.apply, (image, phi), fast_mode=True)
    if member.geometric:
        assert torch.autograd.gradcheck(member.invert, (image, phi), fast_mode=True)


def ball_is_kept(member: Member, phi: Tensor) -> None:
    limit = member.epsilon if member.form == "ball" else 1.0
    assert float(phi.flatten(1).norm(dim=1).max()) <= limit * (1 + 1e-5)


def limits_are_kept(member: AffineMap, phi: Tensor) -> None:
    matrix = member.matrix(phi.double(), (16, 16))
    stretch = matrix[..., :2].norm(dim=1)
    assert float((stretch - 1).abs().max()) <= member.scale * (1 + 1e-5)
    assert float(matrix[..., 2].abs().max()) <= member.shift * (1 + 1e-5)
    angle = torch.atan2(matrix[:, 1, 0], matrix[:, 0, 0])
    assert float(angle.abs().max()) <= math.radians(member.rotation_deg) * (1 + 1e-5)


def gain_is_kept(member: BiasField, phi: Tensor) -> None:
    for field in member.field(phi, (16, 16)).split(1000):
        assert float((field - 1).abs().max()) <= member.epsilon + 1e-6


def test_ten_thousand_draws_and_projections_keep_the_bounds(kind):
    member = kind(2)
    like = torch.zeros(10_000, 1, 16, 16)
    check = {Noise: ball_is_kept, Morph: ball_is_kept, AffineMap: limits_are_kept, BiasField: gain_is_kept}
    check[type(member)](member, member.draw(like, generator=chance()))
    lengths = 10 ** (8 * torch.rand(10_000, generator=chance()) - 4)  # from tiny to huge
    phi = torch.randn(member.identity(like).shape, generator=chance(1))
    phi = member.project(phi * lengths.reshape(-1, *[1] * (phi.ndim - 1)))
    check[type(member)](member, phi)
    torch.testing.assert_close(member.project(phi), phi)


def ellipses(size=192):
    """(1, 4, size, size) one-hot: background, a crescent, a ring, a disc, like a short-axis slice."""
    x, y = torch.meshgrid(*[torch.linspace(-1, 1, size)] * 2, indexing="ij")
    disc, ring = ((x - 0.1) ** 2 + y**2 < radius**2 for radius in (0.22, 0.34))
    crescent = (((x + 0.25) / 0.4) ** 2 + (y / 0.45) ** 2 < 1) & ~ring
    return one_hot(torch.where(disc, 3, torch.where(ring, 2, torch.where(crescent, 1, 0)))[None])


def one_hot(labels):
    return torch.nn.functional.one_hot(labels.long(), 4).movedim(-1, 1).float()


def there_and_back(members, masks, *, seed, right_order=True):
    """Dice (N, 4) of masks sent through the members and back, inside what was always in view; nan where absent."""
    phis = [member.draw(masks, generator=chance(seed)) for member in members]

    def travel(values):
        for member, phi in zip(members, phis, strict=True):
            values = member.carry(values, phi)
        pairs = list(zip(members, phis, strict=True))
        for member, phi in reversed(pairs) if right_order else pairs:
            values = member.invert(values, phi)
        return values

    seen = travel(torch.ones_like(masks[:, :1])) > 0
    found = one_hot(travel(masks).argmax(1)) * seen
    masks = masks * seen
    overlap, total = (found * masks).flatten(2).sum(2), (found + masks).flatten(2).sum(2)
    return torch.where(masks.flatten(2).sum(2) > 0, 2 * overlap / total, torch.nan)


def orders(preset):
    morph, affine = preset[0](2), preset[1](2)
    return ([morph, affine], [affine, morph])


@pytest.mark.parametrize("preset", [(Morph.paper, AffineMap.paper), (Morph.release, AffineMap.release)])
def test_labels_come_back_if_the_inverses_are_reversed(preset):
    masks = ellipses().expand(4, -1, -1, -1)
    right = torch.stack([there_and_back(members, masks, seed=1) for members in orders(preset)])
    assert float(right.min()) > 0.97
    wrong = torch.stack(
        [there_and_back(members, masks, seed=1, right_order=False) for members in orders(preset)]
    )
    assert float(wrong[..., 2].mean()) < 0.96 < 0.98 < float(right[..., 2].mean())


@pytest.fixture(scope="module")
def hearts(shared_data):
    """(N, 4, 192, 192) one-hot middle slices, ED and ES, of the ACDC samples."""
    files = sorted((shared_data / "acdc").glob("*_gt.nii.gz"))
    if not files:
        pytest.skip("needs the ACDC samples")
    slices = []
    for file in files:
        labels = torch.as_tensor(read_labels(file).array).squeeze()
        slices.append(centred(labels[..., labels.shape[-1] // 2], 192))
    return one_hot(torch.stack(slices))


def centred(image, size):
    """Cropped or padded with 0 about the centre."""
    for axis in (0, 1):
        extra = image.shape[axis] - size
        if extra > 0:
            image = image.narrow(axis, extra // 2, size)
        else:
            pad = [0, 0, 0, 0]
            pad[2 * (1 - axis)], pad[2 * (1 - axis) + 1] = -extra // 2, -extra - (-extra // 2)
            image = torch.nn.functional.pad(image, pad)
    return image


@pytest.mark.data
@pytest.mark.parametrize("preset", [(Morph.paper, AffineMap.paper), (Morph.release, AffineMap.release)])
def test_labels_of_real_hearts_come_back(hearts, preset):
    dice = torch.stack([there_and_back(members, hearts, seed=1) for members in orders(preset)])
    present = dice.isfinite()
    assert int(present.all(0).sum()) > 3 * len(hearts)
    assert float(dice[present].min()) > 0.97
    assert float(dice.nanmean((0, 1)).min()) > 0.99
    wrong = torch.stack(
        [there_and_back(members, hearts, seed=1, right_order=False) for members in orders(preset)]
    )
    assert float(wrong.nanmean((0, 1))[2]) < 0.95
