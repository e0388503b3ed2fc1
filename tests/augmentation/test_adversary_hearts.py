"""On real hearts: an adversary beats its random start and descent, more steps do no harm, masked labels come back."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from heart_slices import trained
from scipy.stats import binomtest

from medreg.augmentation.adversary import AdvChain
from medreg.augmentation.chain_rule import ChainRule
from medreg.io.image import read_image, read_labels

pytestmark = [pytest.mark.data, pytest.mark.slow]
SIZE, FIXED = 96, ChainRule("fixed")


@pytest.fixture(scope="module")
def hearts(shared_data):
    """Ten mid slices of five patients (N, 1, 96, 96) in [0, 1], every second pixel, and labels (N, 96, 96)."""
    images, labels = [], []
    for file in sorted((shared_data / "acdc").glob("*_gt.nii.gz")):
        image = torch.as_tensor(read_image(file.with_name(file.name.replace("_gt", ""))).array).float()
        label = torch.as_tensor(read_labels(file).array).long()
        middle = image.shape[2] // 2
        images.append(centred(image[..., middle]))
        labels.append(centred(label[..., middle]))
    if len(images) < 8:
        pytest.skip("needs the ACDC samples")
    stack = torch.stack(images).unsqueeze(1)
    low, high = stack.amin((1, 2, 3), keepdim=True), stack.amax((1, 2, 3), keepdim=True)
    return (stack - low) / (high - low), torch.stack(labels)


def centred(plane):
    starts = [max(0, (size - 2 * SIZE) // 2) for size in plane.shape]
    part = plane[starts[0] : starts[0] + 2 * SIZE : 2, starts[1] : starts[1] + 2 * SIZE : 2]
    out = torch.zeros(SIZE, SIZE, dtype=plane.dtype)
    out[: part.shape[0], : part.shape[1]] = part
    return out


@pytest.fixture(scope="module")
def network(hearts):
    return trained(*hearts, steps=150)


def divergences(adversary, network, images, starts=20):
    found = [adversary.attack(network, images, step=start) for start in range(starts)]
    return tuple(torch.cat([getattr(attack, name) for attack in found]) for name in ("before", "after"))


def beats(first, second):
    return binomtest(int((first > second).sum()), len(first), alternative="greater").pvalue < 0.01


def down(adversary):
    return replace(adversary, members=[Descending(member) for member in adversary.members])


@pytest.mark.parametrize("preset", [AdvChain.paper, AdvChain.release])
def test_one_step_beats_its_random_start_for_every_member_and_the_chain(network, hearts, preset):
    whole = preset(2, rule=FIXED, power_iteration=False)
    for members in [*((member,) for member in whole.members), whole.members]:
        before, after = divergences(replace(whole, members=members), network, hearts[0][:8])
        assert after.mean() > before.mean(), members
        assert beats(after, before), members


@pytest.mark.parametrize("preset", [AdvChain.paper, AdvChain.release])
def test_one_step_up_beats_one_step_down(network, hearts, preset):
    """The chain by the published step of 1; a member alone by a hundredth of it.

    A step of 1 takes an affine map from anywhere to a corner of its limits: down the slope it overshoots as far as
    up, and on rough landscapes both find more divergence than the start has.
    """
    whole = preset(2, rule=FIXED, power_iteration=False)
    chain = divergences(whole, network, hearts[0][:8])[1]
    assert beats(chain, divergences(down(whole), network, hearts[0][:8])[1])
    for member in whole.members:
        small = replace(whole, members=(member,), step_size=0.01)
        up = divergences(small, network, hearts[0][:8], starts=3)[1]
        lower = divergences(down(small), network, hearts[0][:8], starts=3)[1]
        assert beats(up, lower), member


def test_more_steps_do_no_harm(network, hearts):
    means = []
    for steps in (0, 1, 2, 5):
        adversary = AdvChain.paper(2, rule=FIXED, steps=steps)
        means.append(float(divergences(adversary, network, hearts[0][:8], starts=6)[1].mean()))
    assert means[0] < means[1]
    assert means[2] > 0.95 * means[1]
    assert means[3] > 0.95 * means[1]


class Descending:
    """A member whose steps go down."""

    def __init__(self, member):
        self.member, self.geometric = member, member.geometric

    def __getattr__(self, name):
        return getattr(self.member, name)

    def ascend(self, parameters, gradient, *, step):
        return self.member.ascend(parameters, -gradient, step=step)
