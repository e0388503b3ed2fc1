"""VR-Net before any training: closed forms, invariances and the parameter counts of the released code."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from registration_pairs import blob, off_lattice

from medreg.errors import CompositionError, ConfigError, NumericalError
from medreg.geometry.dense import Dense
from medreg.geometry.svf import StationaryVelocity
from medreg.geometry.warp import warp
from medreg.inference.smoothing import gaussian_smooth
from medreg.models import vrnet as module
from medreg.models.blocks.denoiser import GaussianDenoiser, ResidualBlockDenoiser, UNetDenoiser
from medreg.models.blocks.strided_unet import StridedUNet
from medreg.models.vrnet import Coupling, VRNet

THETA = {"init": 1.0, "parametrisation": "raw", "train_scale": 1.0}


def build(ndim=2, *, channels=2, residual=False, scale=1.0, theta=None, **changes):
    """VR-Net with the release's settings; every argument can be replaced."""
    torch.manual_seed(5)
    settings = {
        "transformation": Dense(),
        "data_term": "l2",
        "n_warp": 1,
        "n_iter": 1,
        "start": "unet",
        "start_channels": channels,
        "initialisation": "torch",
        "denoiser": lambda ndim: UNetDenoiser(
            ndim,
            start_channels=channels,
            residual=residual,
            sigma=0.0,
            initialisation="torch",
            last_layer_scale=scale,
        ),
        "theta": THETA | (theta or {}),
        "share_theta": False,
        "share_denoiser": False,
        "final": "ic",
        "intensity_scale": 1.0,
        "eps": 1e-5,
        "last_layer_scale": scale,
        "convention": "exact",
        "padding": "border",
    }
    return VRNet(ndim, **(settings | changes))


def variational(**changes):
    """No networks: what is left of VR-Net is a demons-like scheme."""
    plain = {"start": "zero", "denoiser": lambda ndim: GaussianDenoiser(ndim, sigma=0.0)}
    return build(**(plain | changes)).double()


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("channels", "init3", "denoiser3", "one3", "two_by_two3", "one2", "two_by_one2"),
    [
        (7, 857_101, 857_290, 1_714_392, 4_286_265, 581_715, 872_573),
        (8, 1_118_448, 1_118_664, 2_237_113, 5_593_108, 759_297, 1_138_946),
        (16, 4_459_360, 4_459_792, 8_919_153, 22_298_532, 3_030_273, 4_545_410),
        (32, 17_808_576, 17_809_440, 35_618_017, 89_046_340, 12_107_265, 18_160_898),
    ],
)
def test_11_parameter_counts(channels, init3, denoiser3, one3, two_by_two3, one2, two_by_one2):
    with torch.device("meta"):  # shapes without values: 36 million of them otherwise
        model = build(3, channels=channels)
        assert count(model.initial) == init3
        assert count(model.denoisers) == denoiser3
        assert count(model) == one3 == init3 + denoiser3 + 1
        assert count(build(2, channels=channels)) == one2
        assert count(build(2, channels=channels, n_warp=2)) == two_by_one2
        assert count(build(3, channels=channels, n_warp=2, n_iter=2)) == two_by_two3
        assert count(build(3, channels=channels, data_term="l1")) == one3


@pytest.mark.parametrize(("n_warp", "n_iter"), [(1, 1), (2, 1), (1, 3), (2, 2)])
def test_12_layers_and_warps(monkeypatch, n_warp, n_iter):
    calls = []

    def counted(*arguments, **options):
        calls.append(1)
        return warp(*arguments, **options)

    monkeypatch.setattr(module, "warp", counted)
    model = build(n_warp=n_warp, n_iter=n_iter)
    assert len(model.denoisers) == len(model.couplings) == n_warp * n_iter
    answer = model(*(image.float() for image in off_lattice((16, 32))))
    assert len(calls) == n_warp
    assert len(answer.steps) == n_warp + 1


def test_12_shared_layers_are_one():
    model = build(n_warp=2, n_iter=2, share_denoiser=True, share_theta=True)
    assert len(model.denoisers) == len(model.couplings) == 1
    assert model(*(image.float() for image in off_lattice((16, 32)))).displacement.isfinite().all()


def test_5_equal_images_stay_only_with_exact_sampling():
    fixed, _ = off_lattice((32, 48))
    exact = variational(n_warp=3)(fixed, fixed).displacement
    released = variational(n_warp=3, convention="midir", padding="zeros")(fixed, fixed).displacement
    assert exact.abs().max() < 1e-14
    assert released.abs().max() > 1e-3


# The moving blob and the fixed one; measured with border padding and a consistent grid.
@pytest.mark.parametrize(("theta", "after"), [(1.0, 2.52e-3), (0.1, 3.98e-4), (0.01, 4.45e-5)])
def test_10_without_networks_the_difference_falls_step_by_step(theta, after):
    fixed, moving = blob((40, 48), (20, 24), 5.0), blob((40, 48), (21.5, 22.8), 5.5)
    with torch.no_grad():
        answer = variational(n_warp=25, theta={"init": theta})(fixed, moving)
    errors = [float((warp(moving, u) - fixed).square().mean()) for u in answer.steps]
    assert errors[0] == pytest.approx(3.76e-3, rel=2e-3)
    assert errors[-1] == pytest.approx(after, rel=5e-3)
    assert all(b < a for a, b in pairwise(errors))


def test_13_batch_invariance_and_sizes():
    pairs = [off_lattice((16, 32)), (blob((16, 32), (6, 14), 3.0), blob((16, 32), (7, 15), 3.5))]
    model = build(scale=0.1).double()
    together = model(*(torch.cat(images) for images in zip(*pairs, strict=True))).displacement
    for i, pair in enumerate(pairs):
        torch.testing.assert_close(together[i : i + 1], model(*pair).displacement)
    odd = off_lattice((18, 20))
    assert model(*odd).displacement.shape[2:] == (18, 20)
    with pytest.raises(ConfigError, match="divide by 16"):
        build(convention="midir").double()(*odd)


@pytest.mark.parametrize("data_term", ["l1", "l2"])
def test_14_theta_is_trained_and_constant_images_are_harmless(data_term):
    fixed, moving = (image.float() for image in off_lattice((16, 32)))
    model = build(data_term=data_term, theta={"init": 0.01 if data_term == "l2" else 100.0}, scale=0.1)
    model(fixed, moving).displacement.square().sum().backward()
    assert float(model.couplings[0].parameter.grad.abs()) > 0
    flat = torch.ones_like(fixed)
    model.zero_grad()
    model(flat, flat).displacement.square().sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.slow
def test_15_overfitting_one_pair_ends_below_the_initial_network():
    fixed, moving = blob((32, 32), (15, 16), 5.0).float(), blob((32, 32), (17.5, 14), 5.5).float()

    def trained(n_warp):
        soft = {"init": 0.01, "parametrisation": "softplus"}
        model = build(n_warp=n_warp, residual=True, scale=1e-3, channels=4, theta=soft)
        optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
        for _ in range(60):
            u = model(fixed, moving).displacement
            loss = (warp(moving, u) - fixed).square().mean() + 1e-4 * u.diff(dim=2).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        with torch.no_grad():
            return float((warp(moving, model(fixed, moving).displacement) - fixed).square().mean())

    assert trained(2) < 0.5 * trained(0)


def test_a_velocity_and_a_final_denoiser_compose():
    fixed, moving = off_lattice((32, 48))
    answer = variational(n_warp=8, theta={"init": 0.01}, transformation=StationaryVelocity(5))(fixed, moving)
    before, after = (
        (warp(moving, u) - fixed).square().mean() for u in (answer.steps[0], answer.displacement)
    )
    assert after < 0.2 * before
    assert not torch.equal(answer.regularised, answer.displacement)
    smooth = {"denoiser": lambda ndim: GaussianDenoiser(ndim, sigma=1.5), "final": "denoiser"}
    rough = variational(n_warp=1, theta={"init": 0.01})(fixed, moving).displacement
    ended = variational(n_warp=1, theta={"init": 0.01}, **smooth)(fixed, moving).displacement
    assert ended.diff(dim=2).square().sum() < rough.diff(dim=2).square().sum()


def test_masks_restrict_the_data_term():
    fixed, moving = off_lattice((32, 48))
    mask = torch.zeros_like(fixed)
    mask[..., :20] = 1
    u = variational(theta={"init": 0.01})(fixed, moving, fixed_mask=mask, moving_mask=torch.ones_like(mask))
    assert u.displacement[..., 20:].abs().max() == 0
    assert u.displacement[..., :20].abs().max() > 0.05


def test_residual_blocks_denoise():
    small = ResidualBlockDenoiser(2, channels=4, layers=3, last_layer_scale=0.0)
    u = torch.randn(1, 2, 9, 11)
    assert torch.equal(small(u), u)


def test_the_smoothed_skip_begins_as_a_gaussian():
    settings = {"start_channels": 2, "initialisation": "he", "last_layer_scale": 0.0}
    u = torch.randn(1, 2, 16, 32)
    smooth = UNetDenoiser(2, residual=True, sigma=1.5, **settings)(u)
    torch.testing.assert_close(smooth, gaussian_smooth(u, 1.5))
    assert torch.equal(UNetDenoiser(2, residual=True, sigma=0.0, **settings)(u), u)
    assert UNetDenoiser(2, residual=False, sigma=1.5, **settings)(u).abs().max() == 0


@pytest.mark.parametrize(("initialisation", "least", "most"), [("he", 0.2, 2.0), ("torch", 0.0, 0.05)])
def test_the_signal_reaches_the_last_layer_with_he_weights(initialisation, least, most):
    torch.manual_seed(2)
    network = StridedUNet(2, 2, start_channels=8, initialisation=initialisation, last_layer_scale=1.0)
    seen = []
    network.last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        network(torch.randn(2, 2, 64, 64))
    one, other = seen[0]
    assert least < float((one - other).square().mean().sqrt()) < most


def test_coupling_stays_positive_or_says_so():
    soft = Coupling(init=0.1, parametrisation="softplus", train_scale=10.0)
    assert float(soft().detach()) == pytest.approx(0.1)
    soft.parameter.data.fill_(-3.0)
    assert float(soft().detach()) > 0
    raw = Coupling(init=0.1, parametrisation="raw", train_scale=10.0)
    assert float(raw().detach()) == pytest.approx(0.1)
    raw.parameter.data.fill_(-3.0)
    with pytest.raises(NumericalError, match="softplus"):
        raw()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_iter": 0}, "n_iter=0"),
        ({"start": "random"}, "unet or zero"),
        ({"initialisation": "glorot"}, "he or torch"),
        ({"final": "warp"}, "ic or denoiser"),
        ({"data_term": "l3"}, "l1 or l2"),
        ({"theta": {"init": -1.0}}, "positive"),
        ({"theta": {"parametrisation": "exp"}}, "raw or softplus"),
    ],
)
def test_settings_that_mean_nothing_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        build(**change)


def test_two_channels_are_refused():
    with pytest.raises(CompositionError, match="one channel"):
        build()(torch.zeros(1, 2, 16, 16), torch.zeros(1, 2, 16, 16))
