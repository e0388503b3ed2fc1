"""Pairs under a chain: one motion of everything that belongs to a pair, an appearance for each image, an adversary."""

from __future__ import annotations

import pytest
import torch
from scipy import stats
from torch.nn import functional as F

from medreg.augmentation.adversary import AdvChain
from medreg.augmentation.affine import AffineMap
from medreg.augmentation.batch.mixup import Mixup
from medreg.augmentation.batch.unchanged import Unchanged
from medreg.augmentation.bias import BiasField
from medreg.augmentation.chain_rule import ChainRule
from medreg.augmentation.consistency_term import ConsistencyTerm
from medreg.augmentation.morph import Morph
from medreg.augmentation.noise import Noise
from medreg.augmentation.pairs import PairAugmentation, pair_augmentation
from medreg.augmentation.training import TrainingAugmentation
from medreg.errors import CompositionError, DataError
from medreg.geometry.warp import sample, warp
from medreg.losses.similarity.ssd import SSD
from medreg.models.blocks.unet import UNet

SIDE = 48
STARTS = 16
FIXED = ChainRule("fixed")


def pairs_of(*members, steps=0, seed=0, **changes):
    adversary = AdvChain(members, rule=FIXED, steps=steps, seed=seed, **changes)
    return PairAugmentation(ConsistencyTerm(adversary, 1.0, 0, 0, share=True))


def paper(steps=0, **changes):
    return pairs_of(
        Noise.paper(), BiasField.paper(), Morph.paper(), AffineMap.paper(), steps=steps, **changes
    )


def smooth(count=3, *, seed=0, shape=(SIDE, SIDE - 6)):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 1, *(max(4, side // 12) for side in shape), generator=generator)
    mode = "bicubic" if len(shape) == 2 else "trilinear"
    image = F.interpolate(coarse, size=shape, mode=mode, align_corners=True)
    return (image - image.amin()) / (image.amax() - image.amin())


def batch(count=3, *, shape=(SIDE, SIDE - 6)):
    fixed = smooth(count, shape=shape)
    moving = warp(fixed, torch.full((1, len(shape), *shape), 1.5))
    points = torch.tensor([[20.0, 16.0], [24.0, 21.0], [30.0, 25.0]])[:, : len(shape)]
    return {
        "fixed_image": fixed,
        "moving_image": moving,
        "fixed_label": 200 * (fixed > 0.5).long(),
        "moving_label": 200 * (moving > 0.5).long(),
        "fixed_mask": torch.ones_like(fixed, dtype=torch.uint8),
        "fixed_keypoints": points.expand(count, -1, -1),
        "moving_keypoints": points.expand(count, -1, -1) + 0.5,
        "displacement": torch.zeros(count, len(shape), *shape),
        "spacing_mm": torch.ones(count, len(shape)),
        "case": [f"p{number}" for number in range(count)],
    }


def still(seen, compared):
    """Energies that no chain is asked about."""
    raise AssertionError


def unasked(chain, data, *, step=0):
    return chain(data, still, step=step, module=torch.nn.Identity())


def network(seed=0):
    torch.manual_seed(seed)
    return torch.nn.Sequential(UNet(2, [8, 8], decoder=[8], out=[4], last_layer_scale=1.0))


def energies_of(model):
    def energies(seen, compared):
        field = 2 * model(torch.cat((seen["fixed_image"], seen["moving_image"]), 1)).tanh()
        return SSD(weight=1.0)(warp(compared["moving_image"], field), compared["fixed_image"])

    return energies


def test_both_images_move_alike_and_each_has_its_appearance():
    data = batch()
    data["moving_image"] = data["fixed_image"]
    seen, compared = unasked(paper(), data)
    assert torch.equal(compared["fixed_image"], compared["moving_image"])
    assert float((compared["fixed_image"] - data["fixed_image"]).abs().mean()) > 0.01
    assert float((seen["fixed_image"] - seen["moving_image"]).abs().mean()) > 0.01
    assert not torch.equal(compared["fixed_image"][0], compared["fixed_image"][1])


def test_appearance_alone_leaves_what_is_compared():
    data = batch()
    seen, compared = unasked(pairs_of(Noise.paper(), BiasField.paper()), data)
    torch.testing.assert_close(compared["moving_image"], data["moving_image"], rtol=0, atol=1e-6)
    assert float((seen["moving_image"] - data["moving_image"]).abs().mean()) > 0.01
    assert all(torch.equal(seen[key], data[key]) for key in data if key.endswith(("label", "points")))
    assert "displacement" in seen


@pytest.mark.parametrize(
    "members", [(Morph.paper(),), (AffineMap.paper(),), (Morph.paper(), AffineMap.paper()),
                (AffineMap.paper(), Noise.paper(), Morph.paper())],
)  # fmt: skip
def test_labels_masks_and_points_move_with_the_images(members):
    data = batch()
    seen, compared = unasked(pairs_of(*members, intensity=AdvChain().intensity), data)
    for side in ("fixed", "moving"):
        image, label = compared[f"{side}_image"], seen[f"{side}_label"]
        inside = seen["fixed_mask"] == 1
        assert set(label.unique().tolist()) == {0, 200}
        agree = ((image > 0.5) == (label == 200))[inside & ((image - 0.5).abs() > 0.05)]
        assert float(agree.float().mean()) > 0.99
        assert torch.equal(compared[f"{side}_label"], label)
        points = seen[f"{side}_keypoints"]
        there, before = (
            sample(values, place)
            for values, place in (
                (image, points.nan_to_num()),
                (data[f"{side}_image"], data[f"{side}_keypoints"]),
            )
        )
        known = points.isfinite().all(-1, keepdim=True)
        assert known.float().mean() > 0.5
        assert float((there - before)[known].abs().max()) < 0.02
        assert float((points - data[f"{side}_keypoints"])[known.expand_as(points)].abs().max()) > 0.3
    assert "displacement" not in seen


def test_what_leaves_the_field_of_view_is_masked_and_its_points_are_unknown():
    data = batch(2)
    data["fixed_keypoints"] = torch.tensor([[[1.0, 1.0], [24.0, 20.0]]]).expand(2, -1, -1)
    far = pairs_of(AffineMap.paper(rotation_deg=0.0, scale=0.0, shift=0.9))
    found = [unasked(far, data, step=step)[0] for step in range(4)]
    points = torch.cat([one["fixed_keypoints"] for one in found])
    assert points[:, 0].isnan().any()
    assert points.isfinite().any()
    for one in found:
        outside = one["fixed_mask"] == 0
        assert outside.any()
        assert (one["fixed_label"][outside] == 0).all()


def test_three_dimensions():
    shape = (24, 20, 16)
    fixed = smooth(1, shape=shape)
    data = {"fixed_image": fixed, "moving_image": fixed.flip(2), "fixed_label": (fixed > 0.5).to(torch.int16)}
    members = [kind.paper(3) for kind in (Noise, BiasField, Morph, AffineMap)]
    seen, compared = unasked(pairs_of(*members), data)
    agree = (compared["fixed_image"] > 0.5) == seen["fixed_label"].bool()
    assert float(agree[(compared["fixed_image"] - 0.5).abs() > 0.05].float().mean()) > 0.98
    assert seen["fixed_label"].dtype == torch.int16


@pytest.mark.parametrize("family", [None, Noise, BiasField, Morph, AffineMap])
def test_adversarial_energy_is_above_random_energy(family):
    """Sign test over starts, with the same chains (acceptance check 1 of AdvChain, for registration)."""
    families = (Noise, BiasField, Morph, AffineMap) if family is None else (family,)
    data, model, gains = batch(2), network().eval(), 0
    energies = energies_of(model)
    for step in range(STARTS):
        random, adversarial = (
            energies(*pairs_of(*(kind.paper() for kind in families), steps=steps)(
                data, energies, step=step, module=model
            )).mean().detach()
            for steps in (0, 1)
        )  # fmt: skip
        gains += bool(adversarial > random)
    assert stats.binomtest(gains, STARTS, alternative="greater").pvalue < 0.01


def test_parameters_of_the_chain_get_no_gradient_and_the_network_is_left_alone():
    data, model = batch(), network().train()
    model.append(torch.nn.BatchNorm2d(2))
    model.append(torch.nn.Dropout(0.5))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    seen, compared = paper(1)(data, energies_of(model), step=3, module=model)
    assert torch.equal(torch.rand(3), expected)
    assert not any(
        one[key].requires_grad for one in (seen, compared) for key in ("fixed_image", "moving_image")
    )
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training


def test_everything_random_follows_from_seed_and_step():
    data = batch()
    one, same, other, seeded = (
        unasked(paper(seed=seed), data, step=step)[0]["moving_image"]
        for seed, step in ((0, 4), (0, 4), (0, 5), (1, 4))
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert not torch.equal(one, seeded)


def test_images_of_any_range_keep_it():
    data = batch()
    data |= {key: 300 * data[key] - 1000 for key in ("fixed_image", "moving_image")}
    still_dark = {"padding": "lowest"}
    members = (BiasField.paper(), Morph.paper(**still_dark), AffineMap.paper(**still_dark))
    seen, compared = unasked(pairs_of(*members), data)
    for found in (seen["fixed_image"], compared["moving_image"]):
        assert float(found.min()) >= -1000 - 1e-3
        assert float(found.max()) <= -700 + 1e-3
        assert float(found.std()) > 20


def test_what_registration_can_use():
    term = paper().term
    assert pair_augmentation(None) is None
    assert pair_augmentation(TrainingAugmentation(Unchanged(), None)) is None
    found = pair_augmentation(TrainingAugmentation(Mixup(alpha=0.2), term))
    assert found is not None
    assert found.term is term
    with pytest.raises(CompositionError, match=r"of labelled images.*augmentation=random_chain"):
        pair_augmentation(TrainingAugmentation(Mixup(alpha=0.2), None))


def test_images_on_two_grids_are_refused():
    data = batch()
    data["moving_image"] = data["moving_image"][:, :, 1:]
    with pytest.raises(DataError, match="one grid"):
        unasked(paper(), data)
