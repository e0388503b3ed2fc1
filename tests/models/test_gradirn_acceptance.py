"""GraDIRN before any training: closed forms, invariances and the numbers of the released code."""

from __future__ import annotations

import copy

import pytest
import torch
from registration_pairs import blob, blobs, off_lattice, zero_networks

from medreg.errors import ConfigError
from medreg.geometry.compose import resize, resize_displacement
from medreg.geometry.warp import warp
from medreg.losses.similarity.ncc import NCC
from medreg.losses.similarity.ssd import SSD


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def diffusion(field):
    """Mean over voxels of the squared forward differences, last slice 0 (as the release)."""
    voxels = field[:, 0].numel()
    return sum(field.diff(dim=axis).square().sum() for axis in range(2, field.ndim)) / voxels


@pytest.mark.parametrize(
    ("ndim", "inputs", "blocks", "repeats", "expected"),
    [
        (2, "explicit", [1, 1, 1], [3, 3, 3], 88_521),
        (3, "explicit", [1, 1, 1], [3, 3, 3], 269_964),
        (2, "implicit", [1, 1, 1], [3, 3, 3], 88_521),
        (2, "none", [1, 1, 1], [3, 3, 3], 86_793),
        (3, "none", [1, 1, 1], [3, 3, 3], 264_780),
        (2, "explicit", [3, 3, 3], [1, 1, 1], 265_563),
        (3, "explicit", [3, 3, 3], [1, 1, 1], 809_892),
        (2, "explicit", [1], [9], 29_507),
        (3, "explicit", [1], [9], 89_988),
    ],
)
def test_1_parameter_counts(gradirn, ndim, inputs, blocks, repeats, expected):
    assert count(gradirn(ndim, inputs=inputs, num_blocks=blocks, num_repeat=repeats)) == expected


@pytest.mark.parametrize(("repeats", "tau"), [([3, 3, 3], 0.05), ([1, 1, 1], 0.125)])
def test_2_initial_step_size(gradirn, repeats, tau):
    model = gradirn(num_repeat=repeats)
    taus = [p.item() for name, p in model.named_parameters() if name.endswith("tau")]
    assert taus == pytest.approx([tau] * 3)
    assert model.step_size.train_scale * taus[0] == pytest.approx(10 * tau)


def test_2_step_size_not_scaled_or_not_learned(gradirn):
    model = gradirn(tau={"scale_by_steps": False, "learnable": False})
    taus = [p for name, p in model.named_parameters() if name.endswith("tau")]
    assert [p.item() for p in taus] == pytest.approx([0.5] * 3)
    assert not any(p.requires_grad for p in taus)


@pytest.mark.parametrize("similarity", [SSD(weight=1.0), NCC(weight=1.0)])
@pytest.mark.parametrize("convention", ["exact", "authors"])
def test_3_zero_networks_leave_plain_gradient_descent(gradirn, similarity, convention):
    fixed, moving = off_lattice((24, 20))
    model = zero_networks(gradirn(similarity=similarity, convention=convention)).double()
    answer = model(fixed, moving)
    shapes = [(6, 5), (12, 10), (24, 20)]
    expected, u = [], torch.zeros(1, 2, 6, 5, dtype=torch.float64)
    for shape in shapes:
        level_fixed, level_moving = resize(fixed, shape), resize(moving, shape)
        u = u if u.shape[2:] == shape else resize_displacement(u, shape, gain=convention)
        for _ in range(3):
            u = u.detach().requires_grad_()
            loss = similarity(warp(level_moving, u, convention=convention), level_fixed).sum()
            (gradient,) = torch.autograd.grad(loss * level_fixed.numel(), u)
            u = u - 10 * float(torch.tensor(0.05)) * gradient
            expected.append(u)
    assert len(answer.steps) == 9
    for ours, theirs in zip(answer.steps, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


# The release ran in float32, where its first step (u = 0, every sample on a kink of the interpolant) takes
# backward slopes at a few lattice points by rounding: 4.52e-3 and 3.83e-3. The same arithmetic in float64
# gives 4.481e-3 and 3.635e-3, which is what a sampler without that rounding must reproduce.
@pytest.mark.parametrize(
    ("pair", "before", "after"),
    [
        (blobs(), 6.337e-3, 4.4810e-3),
        ((blob((32, 32), (16.2, 15.7), 4.5), blob((32, 32), (18.1, 14.9), 5.0)), 7.823e-3, 3.6348e-3),
    ],
)
def test_4_descent_lowers_the_difference_as_in_the_release(gradirn, pair, before, after):
    fixed, moving = pair
    u = zero_networks(gradirn(convention="authors")).double()(fixed, moving).displacement
    warped = warp(moving, u, convention="authors")
    assert (moving - fixed).square().mean().item() == pytest.approx(before, rel=1e-3)
    assert (warped - fixed).square().mean().item() == pytest.approx(after, rel=1e-3)
    assert u.abs().max() < 1.3


def test_4_descent_in_exact_coordinates(gradirn):
    fixed, moving = blobs(torch.float32)
    answer = zero_networks(gradirn())(fixed, moving)
    after = (warp(moving, answer.displacement) - fixed).square().mean()
    assert after < 4.481e-3  # the authors' sampler shortens every step by (S − 1)/S
    assert answer.displacement.abs().max() < 1.2


def test_5_equal_images_stay(gradirn):
    fixed, _ = off_lattice()
    answer = zero_networks(gradirn()).double()(fixed, fixed)
    assert answer.displacement.abs().max() < 1e-12


def outer_loss(model, fixed, moving):
    u = model(fixed, moving).displacement
    return (warp(moving, u) - fixed).square().mean() + 0.01 * diffusion(u)


def numeric(model, parameter, index, fixed, moving, step=1e-7):
    values = []
    for sign in (1, -1):
        parameter.data.view(-1)[index] += sign * step
        values.append(float(outer_loss(model, fixed, moving).detach()))
        parameter.data.view(-1)[index] -= sign * step
    return (values[0] - values[1]) / (2 * step)


@pytest.mark.parametrize("checkpoint", [False, True, "all"])
def test_6_gradients_equal_finite_differences(gradirn, checkpoint):
    fixed, moving = off_lattice((16, 20))
    model = gradirn(channels=4, checkpoint=checkpoint, last_layer_scale=0.05).double().train()
    outer_loss(model, fixed, moving).backward()
    for name, parameter in model.named_parameters():
        if name.endswith("tau") or "last" in name:
            index = parameter.numel() // 2
            analytic = float(parameter.grad.view(-1)[index])
            assert analytic == pytest.approx(numeric(model, parameter, index, fixed, moving), rel=1e-4), name


def test_6_first_order_differs_and_ignores_eval(gradirn):
    fixed, moving = off_lattice((16, 20))
    gradients = {}
    for mode in ("second", "first", "second in eval"):
        model = gradirn(first_order=mode == "first").double().train(mode != "second in eval")
        outer_loss(model, fixed, moving).backward()
        gradients[mode] = float(next(p for n, p in model.named_parameters() if n.endswith("tau")).grad)
    assert gradients["second"] == pytest.approx(gradients["second in eval"], rel=1e-12)
    assert abs(gradients["first"] - gradients["second"]) > 1e-3 * abs(gradients["second"])


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_8_runs_without_gradients(gradirn, mode):
    fixed, moving = off_lattice(dtype=torch.float32)
    model = gradirn()
    training = model.train()(fixed, moving).displacement
    with mode():
        answer = model.eval()(fixed + 0, moving + 0)
    assert not answer.displacement.requires_grad
    assert answer.displacement.grad_fn is None
    torch.testing.assert_close(answer.displacement, training.detach(), rtol=0, atol=1e-6)


def test_8_images_made_in_inference_mode_can_be_trained_on(gradirn):
    with torch.inference_mode():
        fixed, moving = off_lattice(dtype=torch.float32)
    model = gradirn()
    model(fixed, moving).displacement.sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_8_no_graph_is_kept_between_steps(gradirn, monkeypatch):
    fixed, moving = off_lattice(dtype=torch.float32)
    model = gradirn().eval()
    seen = []
    step = model._step

    def watched(block, theta, pair):
        seen.append(theta)
        return step(block, theta, pair)

    monkeypatch.setattr(model, "_step", watched)
    with torch.no_grad():
        model(fixed, moving)
    assert len(seen) == 9
    assert all(theta.grad_fn is None for theta in seen)


@pytest.mark.parametrize(("ndim", "shape"), [(2, (32, 24)), (3, (16, 12, 8))])
def test_9_shapes_of_the_steps(gradirn, ndim, shape):
    image = torch.rand(2, 1, *shape)
    model = gradirn(ndim, num_blocks=[1, 2, 1], num_repeat=[2, 1, 1], convention="authors", channels=4)
    with torch.no_grad():
        answer = model(image, image.flip(-1))
    expected = [tuple(n // f for n in shape) for f in (4, 4, 2, 2, 1)]
    assert [tuple(step.shape) for step in answer.steps] == [(2, ndim, *size) for size in expected]
    torch.testing.assert_close(answer.displacement, answer.steps[-1], rtol=0, atol=0)


def test_9_authors_refuse_what_they_cannot_halve(gradirn):
    image = torch.rand(1, 1, 30, 32)
    with pytest.raises(ConfigError, match="divisible by 4"):
        gradirn(convention="authors")(image, image)


def test_9_exact_takes_any_size(gradirn):
    image = torch.rand(1, 1, 29, 35)
    answer = gradirn()(image, image.flip(-1))
    assert answer.displacement.shape == (1, 2, 29, 35)
    assert torch.isfinite(answer.displacement).all()


@pytest.mark.parametrize("similarity", [SSD(weight=1.0), NCC(weight=1.0)])
def test_10_samples_do_not_see_each_other(gradirn, similarity):
    model = gradirn(similarity=similarity, channels=4).double().eval()
    one, two = off_lattice(), tuple(image.flip(-1) for image in off_lattice())
    both = model(*(torch.cat(pair) for pair in zip(one, two, strict=True))).displacement
    torch.testing.assert_close(both[:1], model(*one).displacement, rtol=0, atol=1e-12)
    torch.testing.assert_close(both[1:], model(*two).displacement, rtol=0, atol=1e-12)


def test_11_repeats_share_weights_and_blocks_do_not(gradirn):
    shared = gradirn(num_blocks=[1], num_repeat=[3])
    separate = gradirn(num_blocks=[3], num_repeat=[1])
    assert [sum(n.endswith("tau") for n, _ in m.named_parameters()) for m in (shared, separate)] == [1, 3]
    image = off_lattice(dtype=torch.float32)
    for model, changed in ((shared, [True, True, True]), (separate, [False, False, True])):
        before = model(*image).steps
        last = [p for n, p in model.named_parameters() if n.endswith("regulariser.last.bias")][-1]
        last.data += 0.1
        after = model(*image).steps
        assert [not torch.equal(a, b) for a, b in zip(before, after, strict=True)] == changed


def test_12_only_the_last_field_needs_a_loss(gradirn):
    model = gradirn(channels=4)
    answer = model(*off_lattice(dtype=torch.float32))
    for step in answer.steps:
        step.retain_grad()
    answer.displacement.sum().backward()
    assert torch.equal(answer.steps[-1].grad, torch.ones_like(answer.steps[-1]))
    assert all(step.grad is not None for step in answer.steps[:-1])


@pytest.mark.slow
def test_19_overfits_one_pair(gradirn):
    fixed = blob((32, 32), (16.2, 15.7), 4.5, torch.float32)
    moving = blob((32, 32), (18.1, 14.9), 5.0, torch.float32)

    def difference(model):
        with torch.no_grad():
            return float((warp(moving, model(fixed, moving).displacement) - fixed).square().mean())

    assert float((moving - fixed).square().mean()) == pytest.approx(7.82e-3, rel=1e-2)
    assert difference(zero_networks(gradirn())) < 3.83e-3
    model = gradirn()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(50):
        optimiser.zero_grad()
        outer_loss(model, fixed, moving).backward()
        optimiser.step()
    assert difference(model) < 1e-4


def test_20_checkpoint_round_trip(gradirn, tmp_path):
    images = off_lattice(dtype=torch.float32)
    model = gradirn()
    for parameter in model.parameters():
        parameter.data += 0.01
    torch.save(model.state_dict(), tmp_path / "model.pt")
    loaded = gradirn()
    loaded.load_state_dict(torch.load(tmp_path / "model.pt"))
    torch.testing.assert_close(loaded(*images).displacement, model(*images).displacement, rtol=0, atol=0)
    taus = [p.item() for n, p in loaded.named_parameters() if n.endswith("tau")]
    assert taus == pytest.approx([0.06] * 3)


def test_checkpointing_changes_no_gradient_even_in_a_fresh_process(gradirn):
    images = off_lattice((28, 20))  # a size of its own: nothing about it is cached by an earlier forward pass
    plain = gradirn(channels=4).double()
    saving = copy.deepcopy(plain)
    saving.checkpoint = True
    for model in (plain, saving):
        outer_loss(model, *images).backward()
    for one, two in zip(plain.parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad, rtol=1e-12, atol=1e-14)


def test_untrained_model_starts_near_identity_unless_told_otherwise(gradirn):
    image = torch.rand(1, 1, 40, 40, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        near = gradirn(last_layer_scale=1e-3, tau={"init": 0.0})(image, image.flip(-1))
        far = gradirn(last_layer_scale=1.0, tau={"init": 0.0})(image, image.flip(-1))
    assert near.displacement.abs().max() < 0.5
    assert far.displacement.abs().mean() > 2
