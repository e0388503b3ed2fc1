"""The adversary: it beats chance, changes nothing of the network, and is as random as its step number."""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass, replace

import pytest
import torch
import torch.multiprocessing
import torch.utils.checkpoint
import two_ranks
from heart_slices import SmallUNet, heart_slices, trained
from scipy.stats import binomtest
from torch import nn

from medreg.augmentation import chance
from medreg.augmentation.adversary import AdvChain
from medreg.augmentation.affine import AffineMap
from medreg.augmentation.anatomy import AnatomyCheck
from medreg.augmentation.bias import BiasField
from medreg.augmentation.chain_rule import ChainRule
from medreg.augmentation.comparison import Region
from medreg.augmentation.intensity import Intensity
from medreg.augmentation.member import Member
from medreg.augmentation.morph import Morph
from medreg.augmentation.noise import Noise
from medreg.errors import CompositionError, ConfigError, DataError
from medreg.losses.segmentation.consistency import Consistency

FIXED = ChainRule("fixed")
FAMILIES = (Noise.paper(), BiasField.paper(), Morph.paper(), AffineMap.paper())


@pytest.fixture(scope="module")
def hearts():
    return heart_slices(2)


@pytest.fixture(scope="module")
def network(hearts):
    return trained(*hearts, steps=50)


def fresh(**options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SmallUNet(width=4, **options).train()


def images(count=3, size=24, seed=0):
    return torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(seed))


def state(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(first, second):
    return all(torch.equal(value, second[name]) for name, value in first.items())


# --- it beats chance


@pytest.mark.parametrize(
    "members",
    [*((member,) for member in FAMILIES), FAMILIES],
    ids=["noise", "bias", "morph", "affine", "chain"],
)
def test_one_step_beats_its_random_start(network, hearts, members):
    adversary = AdvChain.paper(2, members=members, rule=FIXED)
    found = [adversary.attack(network, hearts[0], step=start) for start in range(20)]
    before, after = (torch.cat([getattr(attack, name) for attack in found]) for name in ("before", "after"))
    assert after.mean() > before.mean()
    assert binomtest(int((after > before).sum()), len(after), alternative="greater").pvalue < 0.01


def test_one_step_up_beats_one_step_down(network, hearts):
    game = AdvChain.paper(2, rule=FIXED, power_iteration=False)
    up, down = [], []
    for start in range(5):
        attack = game.attack(network, hearts[0], step=start)
        up.append(attack.after)
        reversed_members = tuple(Descending(member) for member in FAMILIES)
        down.append(replace(game, members=reversed_members).attack(network, hearts[0], step=start).after)
    up, down = torch.cat(up), torch.cat(down)
    assert binomtest(int((up > down).sum()), len(up), alternative="greater").pvalue < 0.01


def test_more_steps_do_no_harm(network, hearts):
    means = []
    for steps in (0, 1, 3):
        adversary = AdvChain.paper(2, rule=FIXED, steps=steps, power_iteration=False)
        found = [adversary.attack(network, hearts[0], step=start).after for start in range(4)]
        means.append(float(torch.cat(found).mean()))
    assert means[0] < means[1] < means[2] * 1.02


def test_no_step_is_the_random_chain(network, hearts):
    attack = AdvChain.paper(2, steps=0).attack(network, hearts[0], step=3)
    assert torch.equal(attack.before, attack.after)
    generator = chance.Chance(0, 3).of_parameters(torch.device("cpu"))
    start = attack.chain.draw(hearts[0], generator=generator)
    assert all(torch.equal(a, b) for a, b in zip(attack.parameters, start, strict=True))


class Descending:
    """A member whose steps go down."""

    def __init__(self, member):
        self.member, self.geometric = member, member.geometric

    def __getattr__(self, name):
        return getattr(self.member, name)

    def ascend(self, parameters, gradient, *, step):
        return self.member.ascend(parameters, -gradient, step=step)


# --- what the loss is


def test_the_loss_is_the_divergence_of_the_attack(network, hearts):
    adversary = AdvChain.paper(2)
    for step in range(3):
        attack = adversary.attack(network, hearts[0], step=step)
        loss = adversary(network, hearts[0], step=step)
        assert float(loss.detach()) == pytest.approx(float(attack.after.mean()), rel=1e-5)
        scores = attack.chain.invert(network(attack.images), attack.parameters)
        by_hand = adversary.consistency(attack.reference, scores, attack.mask)
        assert float(loss.detach()) == pytest.approx(float(by_hand.detach()), rel=1e-5)


def test_nothing_of_a_loss_goes_through_the_reference():
    net, x = fresh(), images()
    adversary = AdvChain.paper(2)
    clean = net(x).detach().requires_grad_()
    loss = adversary(net, x, step=1, clean=clean)
    loss.backward()
    assert clean.grad is None
    whole = [p.grad.clone() for p in net.parameters()]
    attack = adversary.attack(net, x, step=1, clean=clean)
    net.zero_grad()
    constant = attack.reference.clone()
    by_hand = adversary.consistency(
        constant, attack.chain.invert(net(attack.images), attack.parameters), attack.mask
    )
    by_hand.backward()
    for one, p in zip(whole, net.parameters(), strict=True):
        assert torch.allclose(one, p.grad, atol=1e-6)


def test_known_clean_scores_save_a_pass_and_change_nothing():
    net, x = fresh(), images()
    calls = []
    net.register_forward_hook(lambda *_: calls.append(1))
    adversary = AdvChain.paper(2)
    plain = adversary(net, x, step=2)
    assert len(calls) == 3
    again = adversary(net, x, step=2, clean=net(x))
    assert len(calls) == 3 + 1 + 2
    assert float(plain.detach()) == pytest.approx(float(again.detach()), rel=1e-5)


@pytest.mark.parametrize("reference", ["warped", "clean"])
def test_a_network_that_commutes_with_motion_has_no_loss_for_warped_references(reference):
    """The network is a map of intensities; `clean` references differ by what interpolation blurs, as released."""
    slope = nn.Conv2d(1, 2, 1)
    with torch.no_grad():
        slope.weight.copy_(torch.tensor([1.5, -0.5]).reshape(2, 1, 1, 1))
        slope.bias.zero_()
    adversary = AdvChain.paper(
        2,
        members=FAMILIES[2:],
        rule=FIXED,
        reference=reference,
        intensity=Intensity("none"),
        region=Region(above=0.999),
        steps=0,
    )
    loss = float(adversary(slope, images(), step=0).detach())
    assert (loss < 1e-8) == (reference == "warped")


def test_labels_as_reference():
    net, x = fresh(), images()
    labels = torch.randint(4, (3, 24, 24), generator=torch.Generator().manual_seed(1))
    one_hot = nn.functional.one_hot(labels, 4).movedim(-1, 1).float()
    adversary = AdvChain.paper(
        2, members=(Noise.paper(epsilon=0.0),), rule=FIXED, truth=True, consistency=Consistency(contour=0.0)
    )
    losses = [
        float(adversary(net, x, labels=y, step=0).detach()) for y in (labels, labels.unsqueeze(1), one_hot)
    ]
    assert losses[0] == losses[1] == losses[2]
    # KL to one-hot labels is the cross-entropy
    cross_entropy = float(nn.functional.cross_entropy(net(x), labels).detach())
    assert losses[0] == pytest.approx(cross_entropy, rel=1e-4)
    with pytest.raises(DataError, match="truth of the adversary needs labels"):
        adversary(net, x)
    with pytest.raises(DataError, match="go from 0 to 9"):
        adversary(net, x, labels=labels.clone().index_fill_(1, torch.tensor(0), 9))
    with pytest.raises(DataError, match="same grid"):
        adversary(net, x, labels=labels[:, :20])
    with pytest.raises(DataError, match="same classes"):
        adversary(net, x, labels=one_hot[:, :3], clean=net(x))


@pytest.mark.parametrize(
    "consistency",
    [Consistency("kl", contour=0.0), Consistency("mse", contour=0.0), Consistency(weight=0.0, contour=1.0)],
    ids=["kl", "mse", "contour"],
)
@pytest.mark.parametrize("reference", ["warped", "clean"])
def test_without_a_change_there_is_no_loss(network, hearts, consistency, reference):
    for members in (*((member,) for member in FAMILIES), FAMILIES):
        still = tuple(Still(member) for member in members)
        adversary = AdvChain.paper(
            2, members=still, rule=FIXED, steps=0, reference=reference, consistency=consistency
        )
        assert abs(float(adversary(network, hearts[0], step=0).detach())) < 1e-6


class Still:
    """A member that starts where nothing changes."""

    def __init__(self, member):
        self.member, self.geometric = member, member.geometric

    def __getattr__(self, name):
        return getattr(self.member, name)

    def draw(self, image, *, generator):
        return self.member.identity(image)


# --- it changes nothing


@pytest.mark.parametrize("call", ["loss", "attack"])
@pytest.mark.parametrize("train", [True, False])
def test_statistics_modes_and_gradients_stay(call, train):
    net, x = fresh(dropout=0.3).train(train), images()
    net.deep[1].eval()
    before, modes = state(net), [part.training for part in net.modules()]
    tracked = [part.track_running_stats for part in net.modules() if isinstance(part, nn.BatchNorm2d)]
    chance_before = torch.get_rng_state()
    adversary = AdvChain.paper(2, steps=2)
    adversary(net, x) if call == "loss" else adversary.attack(net, x)
    assert same(before, net.state_dict())
    assert modes == [part.training for part in net.modules()]
    assert tracked == [part.track_running_stats for part in net.modules() if isinstance(part, nn.BatchNorm2d)]
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    assert torch.equal(chance_before, torch.get_rng_state())
    assert not x.requires_grad


def test_statistics_stay_below_any_depth_and_in_modules_of_ones_own():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("seen", torch.zeros(()))

        def forward(self, x):
            self.seen += 1
            return x

    net = nn.Sequential(
        nn.Sequential(
            nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.InstanceNorm2d(3, track_running_stats=True))
        ),
        Counting(),
    )
    before = state(net.train())
    AdvChain.paper(2)(net, images()).backward()
    assert same(before, net.state_dict())
    assert net[1].seen is dict(net.named_buffers())["1.seen"]


def test_the_outer_pass_may_update_statistics_or_train():
    net, x = fresh(), images()
    before = state(net)
    AdvChain.paper(2, outer_statistics="update")(net, x)
    after = state(net)
    assert not same(before, after)
    assert all(int(after[k]) == 1 for k in after if k.endswith("num_batches_tracked"))
    net.eval()
    net.down[1].train()
    modes = [part.training for part in net.modules()]
    plain = float(AdvChain.paper(2)(net, x, step=0).detach())
    forced = float(AdvChain.paper(2, outer_train=True)(net, x, step=0).detach())
    assert forced != pytest.approx(plain, rel=1e-3)
    assert modes == [part.training for part in net.modules()]
    assert same(after, net.state_dict())


def test_dropout_is_the_same_in_all_passes():
    net, x = fresh(dropout=0.5), images()
    still = AdvChain.paper(2, members=(Noise.paper(epsilon=0.0),), rule=FIXED, intensity=Intensity("none"))
    assert float(still(net, x).detach()) == 0.0
    other = [float(AdvChain.paper(2)(net, x, step=step).detach()) for step in (4, 4, 5)]
    assert other[0] == other[1] != other[2]


def test_frozen_weights_stay_frozen():
    net, x = fresh(), images()
    net.down.requires_grad_(False)
    AdvChain.paper(2)(net, x).backward()
    assert all(p.grad is None and not p.requires_grad for p in net.down.parameters())
    assert all(p.grad is not None for p in net.out.parameters())


def test_the_caller_may_be_without_gradients(network, hearts):
    adversary = AdvChain.paper(2)
    plain = float(adversary(network, hearts[0], step=0).detach())
    for context in (torch.no_grad(), torch.inference_mode()):
        with context:
            loss = adversary(network, hearts[0], step=0)
            assert not loss.requires_grad
            assert float(loss) == pytest.approx(plain, rel=1e-5)
    with torch.inference_mode():
        assert float(adversary(network, hearts[0] * 1.0, step=0)) == pytest.approx(plain, rel=1e-5)


def test_the_adversary_is_computed_in_float32_under_autocast(network, hearts):
    adversary = AdvChain.paper(2)
    plain = adversary.attack(network, hearts[0], step=0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = adversary.attack(network, hearts[0], step=0)
        dtypes = []
        handle = network.out.register_forward_hook(lambda _m, _i, out: dtypes.append(out.dtype))
        loss = adversary(network, hearts[0], step=0)
        handle.remove()
    assert torch.equal(plain.images, cast.images)
    assert dtypes == [torch.float32, torch.float32, torch.bfloat16]
    assert loss.dtype == torch.float32
    assert float(loss.detach()) == pytest.approx(float(plain.after.mean()), rel=0.05)


def test_a_network_in_half_precision():
    net = nn.Conv2d(1, 3, 3, padding=1).bfloat16()
    loss = AdvChain.paper(2)(net, images().bfloat16())
    loss.backward()
    assert loss.dtype == torch.float32
    assert net.weight.grad.isfinite().all()


def test_a_network_that_recomputes_its_activations():
    """Activation checkpoints run parts again in the backward pass of the ascent; statistics stay there, too."""

    class Recomputing(nn.Module):
        def __init__(self):
            super().__init__()
            self.inside = fresh(dropout=0.3)

        def forward(self, image):
            return torch.utils.checkpoint.checkpoint(self.inside, image, use_reentrant=False)

    net, x = Recomputing(), images()
    before = state(net)
    adversary = AdvChain.paper(2, rule=FIXED)
    found = adversary.attack(net, x, step=0)
    assert same(before, net.state_dict())
    assert torch.allclose(found.after, adversary.attack(net.inside, x, step=0).after, rtol=1e-4)


def test_a_distributed_network():
    """The reducer of DDP is not asked in the ascent; two training steps work, with the weights of all steps."""
    distributed = torch.distributed
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        net, x = fresh(), images()
        plain = fresh()
        wrapped = nn.parallel.DistributedDataParallel(net)
        optimiser = torch.optim.SGD([*net.parameters(), *plain.parameters()], lr=0.1)
        adversary = AdvChain.paper(2)
        for step in range(2):
            optimiser.zero_grad()
            for one in (wrapped, plain):
                adversary(one, x, step=step).backward()
            optimiser.step()
        for one, other in zip(net.parameters(), plain.parameters(), strict=True):
            assert torch.allclose(one, other, atol=1e-6)
    finally:
        distributed.destroy_process_group()


# --- chance


def test_steps_are_reproducible_and_differ():
    net, x = fresh(), images()
    adversary = AdvChain.paper(2, seed=3)
    one, again, other = (adversary.attack(net, x, step=step) for step in (7, 7, 8))
    assert torch.equal(one.images, again.images)
    assert not torch.equal(one.images, other.images)
    assert not torch.equal(AdvChain.paper(2, seed=4).attack(net, x, step=7).images, one.images)


def test_nothing_of_one_call_is_in_the_next():
    net, x = fresh(), images()
    used = AdvChain.paper(2)
    for step, other in enumerate((images(2, 32), images(4, 20), x)):
        used(net, other, step=step)
    again, new = used.attack(net, x, step=7), AdvChain.paper(2).attack(net, x, step=7)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters, new.parameters, strict=True))
    assert torch.equal(again.images, new.images)


def test_without_a_number_steps_are_counted():
    net, x = fresh(), images()
    counting, numbered = AdvChain.paper(2), AdvChain.paper(2)
    for step in range(3):
        assert torch.equal(counting.attack(net, x).images, numbered.attack(net, x, step=step).images)
    with pytest.raises(ConfigError, match="step is -1"):
        counting(net, x, step=-1)


def test_processes_have_one_chain_and_parameters_of_their_own(monkeypatch):
    net, x = fresh(), images()
    adversary = AdvChain.paper(2)
    orders = []
    for step in range(6):
        found = []
        for number in (0, 1):
            monkeypatch.setattr(chance, "rank", lambda number=number: number)
            found.append(adversary.attack(net, x, step=step))
        assert found[0].chain == found[1].chain
        assert not torch.equal(found[0].images, found[1].images)
        orders.append(tuple(type(member).__name__ for member in found[0].chain.members))
    assert len(set(orders)) > 3


# --- steps


def test_bounds_hold_after_the_last_step_and_with_every_projection_after_each(network, hearts):
    for projection in ("every", "last"):
        adversary = AdvChain.paper(2, rule=FIXED, steps=3, projection=projection, power_iteration=False)
        noise, bias, morph, affine = adversary.attack(network, hearts[0], step=0).parameters
        assert noise.flatten(1).norm(dim=1).max() <= 1 + 1e-5
        assert bias.min() >= BiasField.paper().bounds[0] - 1e-6
        assert bias.max() <= BiasField.paper().bounds[1] + 1e-6
        assert morph.flatten(1).norm(dim=1).max() <= 1.5 * (1 + 1e-5)
        assert affine.abs().max() <= 1


def test_decay_and_sizes_of_steps(network, hearts):
    def shift(**options):
        adversary = AdvChain.paper(2, members=FAMILIES[3:], rule=FIXED, projection="last", **options)
        start = replace(adversary, steps=0).attack(network, hearts[0], step=0).parameters[0]
        return (adversary.attack(network, hearts[0], step=0).parameters[0] - start).abs()

    small = 1e-4  # too small for a bound, and for the sign of a gradient to change
    assert torch.allclose(shift(step_size=small), torch.tensor(small), atol=1e-6)
    twice = shift(step_size=small, steps=2, decay="constant")
    assert float(twice.median()) == pytest.approx(2 * small, rel=1e-2)
    slower = shift(step_size=small, steps=2, decay="root")
    assert float(slower.median()) == pytest.approx((1 + 0.5**0.5) * small, rel=1e-2)


def test_each_member_has_its_own_step(network, hearts):
    members = FAMILIES[1:3]
    adversary = AdvChain.paper(2, members=members, rule=ChainRule("random_length"), step_size=[0.0, 1.0])
    for step in range(6):
        attack = adversary.attack(network, hearts[0], step=step)
        start = replace(adversary, steps=0).attack(network, hearts[0], step=step)
        for member, found, drawn in zip(
            attack.chain.members, attack.parameters, start.parameters, strict=True
        ):
            assert torch.allclose(found, drawn, atol=1e-6) == (member == members[0])


def test_power_iteration_takes_the_direction_of_the_gradient(network, hearts):
    members = (Noise.paper(), BiasField.paper())
    adversary = AdvChain.paper(2, members=members, rule=FIXED)
    noise = adversary.attack(network, hearts[0], step=0).parameters[0]
    assert torch.allclose(noise.flatten(1).norm(dim=1), torch.ones(len(noise)), rtol=1e-4)
    drawn = replace(adversary, steps=0).attack(network, hearts[0], step=0).parameters
    cosine = nn.functional.cosine_similarity(noise.flatten(1), drawn[0].flatten(1))
    assert cosine.abs().max() < 0.2  # a step of length 1 would keep half of the start
    stepped = replace(adversary, power_iteration=False).attack(network, hearts[0], step=0).parameters[0]
    assert nn.functional.cosine_similarity(stepped.flatten(1), drawn[0].flatten(1)).min() > 0.4


def test_a_sample_without_a_finite_gradient_keeps_its_start():
    slope = nn.Conv2d(1, 3, 3, padding=1)

    def broken(x):
        scores = slope(x)
        factor = torch.ones(len(x), 1, 1, 1)
        factor[1] = torch.nan
        return scores * factor

    adversary = AdvChain.paper(2, rule=FIXED)
    attack = adversary.attack(broken, images(), step=0)
    start = replace(adversary, steps=0).attack(broken, images(), step=0)
    for member, found, drawn in zip(attack.chain.members, attack.parameters, start.parameters, strict=True):
        assert found.isfinite().all()
        assert torch.equal(found[1], drawn[1])
        assert not torch.equal(found[0], drawn[0]), member


# --- machines


@pytest.mark.slow
def test_two_processes_have_the_same_chains_and_stay_in_step(tmp_path):
    torch.multiprocessing.spawn(two_ranks.train, (str(tmp_path),), nprocs=2)
    one, other = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert one["chains"] == other["chains"]
    assert len(set(one["chains"])) > 3
    assert all(first != second for first, second in zip(one["losses"], other["losses"], strict=True))
    assert all(torch.equal(value, other["weights"][name]) for name, value in one["weights"].items())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("divergence", ["kl", "mse"])
def test_a_gpu_finds_the_same_divergence_at_fixed_parameters(network, hearts, divergence):
    adversary = AdvChain.paper(2, rule=FIXED, consistency=Consistency(divergence))
    attack = adversary.attack(network, hearts[0], step=0)
    found = []
    for device in ("cpu", "cuda"):
        net, x = copy.deepcopy(network).to(device), hearts[0].to(device)
        phi = tuple(parameter.to(device) for parameter in attack.parameters)
        with torch.no_grad():
            moved = adversary.intensity.keep(attack.chain.apply(x, phi), x)
            scores = attack.chain.invert(net(moved), phi)
            value = adversary.consistency(net(x), scores, attack.chain.mask(scores, phi))
        found.append(float(value))
        loss = adversary(net, x, step=0)
        loss.backward()
        assert loss.isfinite()
    assert found[0] == pytest.approx(found[1], abs=1e-4)
    assert found[0] > 1e-3


# --- networks of all kinds


def test_functions_keys_indices_and_hooks():
    net, x = fresh(), images()
    adversary = AdvChain.paper(2)
    plain = float(adversary(net, x, step=0).detach())
    before = state(net)
    outputs = {
        "key": (lambda image: {"logits": net(image)}, "logits"),
        "index": (lambda image: (net(image), None), 0),
        "hook": (lambda image: [None, net(image)], lambda out: out[1]),
        "function": (lambda image: net(image), None),
    }
    for function, scores in outputs.values():
        found = replace(adversary, scores=scores)(function, x, step=0, module=net)
        assert float(found.detach()) == plain
    assert same(before, net.state_dict())


def test_a_member_of_ones_own_is_one_class(network, hearts):
    @dataclass(frozen=True)
    class Brightness(Member):
        limit: float

        def draw(self, image, *, generator):
            return self.limit * (2 * torch.rand(len(image), generator=generator) - 1)

        def identity(self, image):
            return image.new_zeros(len(image))

        def apply(self, image, parameters):
            return image + parameters.reshape(-1, 1, 1, 1)

        def project(self, parameters):
            return parameters.clamp(-self.limit, self.limit)

    options = {"rule": FIXED, "intensity": Intensity("none")}
    attack = AdvChain((Brightness(0.1), FAMILIES[3]), **options).attack(network, hearts[0], step=0)
    assert attack.parameters[0].abs().max() == pytest.approx(0.1)
    alone = AdvChain((Brightness(0.1),), **options).attack(network, hearts[0], step=0)
    assert alone.after.mean() > alone.before.mean()


def test_several_channels_and_volumes():
    x = torch.rand(2, 3, 24, 20, generator=torch.Generator().manual_seed(0))
    net = nn.Conv2d(3, 4, 3, padding=1)
    AdvChain.paper(2, rule=FIXED)(net, x).backward()
    assert net.weight.grad.abs().sum() > 0
    volume = torch.rand(1, 1, 16, 16, 6, generator=torch.Generator().manual_seed(0))
    deep = nn.Conv3d(1, 3, 3, padding=1)
    for preset in (AdvChain.paper(3, rule=FIXED), AdvChain.release(3, rule=FIXED)):
        preset(deep, volume).backward()
        assert deep.weight.grad.isfinite().all()


def test_images_of_any_range_keep_it():
    net, x = fresh(), images() * 2000 - 1000
    adversary = AdvChain.paper(2, rule=FIXED, padding="lowest", ignore_background=True)
    attack = adversary.attack(net, x, step=0)
    assert torch.allclose(attack.images.amin((1, 2, 3)), x.amin((1, 2, 3)), atol=1e-2)
    assert torch.allclose(attack.images.amax((1, 2, 3)), x.amax((1, 2, 3)), atol=1e-2)


def test_the_background_is_left_alone():
    net, x = fresh(), images()
    x[:, :, :6] = 0.0  # noise makes other voxels darker still, which must not mislead the bias field
    adversary = AdvChain.paper(
        2, members=FAMILIES[:2], rule=FIXED, intensity=Intensity("clamp"), ignore_background=True
    )
    attack = adversary.attack(net, x, step=0)
    assert torch.equal(attack.images[:, :, :6], x[:, :, :6])
    assert not torch.equal(attack.images[:, :, 6:], x[:, :, 6:])


def test_what_does_not_fit_is_said_in_sentences():
    net, x = fresh(), images()
    adversary = AdvChain.paper(2)
    with pytest.raises(DataError, match="floating-point"):
        adversary(net, x.int())
    with pytest.raises(DataError, match="NaN"):
        adversary(net, x.index_fill(0, torch.tensor(1), torch.nan))
    with pytest.raises(DataError, match="give \\(N, C, X, Y\\)"):
        adversary(net, x[0])
    with pytest.raises(CompositionError, match="returns a dictionary with the keys logits"):
        adversary(lambda image: {"logits": net(image)}, x)
    with pytest.raises(CompositionError, match="scores='logits' does not fit"):
        replace(adversary, scores="logits")(lambda image: {"out": net(image)}, x)
    with pytest.raises(CompositionError, match="Interpolate them"):
        adversary(nn.Conv2d(1, 4, 3, stride=2), x)
    with pytest.raises(CompositionError, match="do not depend"):
        adversary(lambda image: net(image).detach(), x)
    with pytest.raises(CompositionError, match="one output channel"):
        adversary(nn.Conv2d(1, 1, 1), x)
    small = nn.Sequential(nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3)).train()
    with pytest.raises(DataError, match="batch of 1 whose features are one voxel"):
        AdvChain.paper(2, members=FAMILIES[:1])(small, torch.rand(1, 1, 1, 1))


def test_bad_options_are_refused():
    for nobody in ((), {"noise": None}):
        with pytest.raises(ConfigError, match="no members"):
            AdvChain(nobody)
    assert AdvChain({"noise": FAMILIES[0], "bias": None}).members == FAMILIES[:1]
    for name, bad in {
        "steps": -1,
        "decay": "linear",
        "projection": "never",
        "reference": "dirty",
        "outer_statistics": "moved",
        "seed": -1,
        "step_size": -1.0,
    }.items():
        with pytest.raises(ConfigError, match=name):
            AdvChain.paper(2, **{name: bad})
    with pytest.raises(ConfigError, match="3 entries for 4 members"):
        AdvChain.paper(2, step_size=[1, 1, 1])
    with pytest.raises(ConfigError, match=r"chain_rule\.kind"):
        AdvChain.paper(2, rule=ChainRule("any"))


def test_an_empty_region_makes_no_loss_and_says_so(caplog):
    net, x = fresh(), images()
    adversary = AdvChain.paper(2, members=FAMILIES[3:], rule=FIXED, region=Region(above=1.5))
    with caplog.at_level(logging.WARNING, logger="medreg"):
        loss = adversary(net, x)
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert all(p.grad is None or p.grad.abs().sum() == 0 for p in net.parameters())
    assert "No voxel of these images came back" in caplog.text


def test_presets():
    assert AdvChain() == AdvChain.paper(2)
    assert AdvChain.release(2) != AdvChain.paper(2)
    release = AdvChain.release(2)
    assert release.rule.kind == "random_length"
    assert (release.consistency.divergence, release.consistency.mse_released) == ("mse", False)
    assert AdvChain.paper(2, steps=5).steps == 5


# --- anatomy


def test_structures_survive_where_it_is_asked(network, hearts):
    x, labels = hearts
    wild = (Morph.paper(epsilon=12.0), AffineMap.paper(shift=0.6))
    plain = AdvChain.paper(2, members=wild, rule=FIXED)
    check = AnatomyCheck(tolerance=2e-3, restarts=1)
    careful = replace(plain, anatomy=check)
    lost = plain.attack(network, x, step=0)
    kept = careful.attack(network, x, step=0, labels=labels)
    inside = (labels > 0).unsqueeze(1).float()
    assert (check.error(lost.chain, lost.parameters, inside) > 2e-3).any()
    assert (check.error(kept.chain, kept.parameters, inside) <= 2e-3).all()
    with pytest.raises(DataError, match="anatomy of the adversary needs labels"):
        careful(network, x)


def test_what_passes_is_not_touched_by_the_check(network, hearts):
    x, labels = hearts
    plain = AdvChain.paper(2, rule=FIXED)
    careful = replace(plain, anatomy=AnatomyCheck(tolerance=1.0, restarts=1))
    assert torch.equal(
        plain.attack(network, x, step=0).images, careful.attack(network, x, step=0, labels=labels).images
    )


def test_bad_checks_are_refused():
    with pytest.raises(ConfigError, match=r"anatomy\.tolerance"):
        AnatomyCheck(tolerance=-1)
    with pytest.raises(ConfigError, match=r"anatomy\.restarts"):
        AnatomyCheck(restarts=-1)


# --- what cannot be attacked


@pytest.mark.parametrize(
    ("given", "options", "told"),
    [
        (images().numpy(), {}, "ndarray; give a tensor of torch"),
        (images()[:0], {}, "leave empty batches out"),
        (images(), {"clean": torch.rand(1, 4, 24, 24)}, r"clean has shape \(1, 4, 24, 24\)"),
        (
            images(),
            {"clean": {"logits": torch.rand(3, 4, 24, 24)}},
            "clean is a dictionary with the keys logits",
        ),
    ],
)
def test_calls_that_do_not_fit_are_told(given, options, told):
    for adversary in (AdvChain.paper(2), AdvChain.release(2)):
        with pytest.raises(DataError, match=told):
            adversary(fresh(), given, step=0, **options)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: AdvChain.paper(4), "ndim is 4"),
        (lambda: AdvChain(["noise"]), "members holds 'noise', which is no Member"),
        (lambda: AdvChain(rule="fixed"), "rule is 'fixed', which is no ChainRule"),
    ],
)
def test_adversaries_that_cannot_be_are_told(make, told):
    with pytest.raises(ConfigError, match=told):
        make()


def test_activation_checkpoints_train_with_statistics_that_move():
    net, x = fresh(), images()

    def recomputing(image):
        return torch.utils.checkpoint.checkpoint(net, image, use_reentrant=False)

    AdvChain.paper(2, outer_statistics="update")(recomputing, x, step=0, module=net).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
