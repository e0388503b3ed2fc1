"""The learned distance: its network, and what a similarity has to promise."""

from __future__ import annotations

import pytest
import torch
from tiny_distance import OPTIONS, tiny_distance

from medreg.augmentation.random_convolution import Stack
from medreg.config.compose import compose
from medreg.config.instantiate import build
from medreg.errors import CheckpointError, CompositionError, ConfigError, DataError
from medreg.models.blocks.frame import framed
from medreg.models.mad import MAD, DistanceNetwork, load_distance

STACK = Stack(layers=4, channels=8, wide=0.0, bias=0.3, slope=0.01)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return tiny_distance(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def run_3d(tmp_path_factory):
    return tiny_distance(tmp_path_factory.mktemp("run3d"), ndim=3)


def mad(ckpt, *, tta_k=0, seed=0):
    return MAD(ckpt=ckpt, tta_k=tta_k, convolution=STACK, seed=seed, weight=1.0)


def images(*shape, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    return torch.rand(2, *shape, generator=generator, dtype=dtype).unbind(0)


def test_parameters_of_the_default_network():
    config = compose(["model=mad", "data=brain_phantom", "logger=none"])
    network = build(config.model)
    assert sum(p.numel() for p in network.parameters()) == 408_721  # 0.26 M convolutions, 0.15 M linear
    assert config.data.pairing.otherwise.fixed_modality == "MR T1w"


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_distance_is_a_positive_number_a_pair(ndim):
    network = DistanceNetwork(ndim, **OPTIONS)
    found = network(*images(3, 1, *[8] * ndim))
    assert found.shape == (3,)
    assert float(found.detach().min()) > 0


def test_sizes_that_cannot_be_halved_are_refused():
    with pytest.raises(ConfigError, match=r"model\.size=10"):
        DistanceNetwork(2, **(OPTIONS | {"size": 10}))
    with pytest.raises(ConfigError, match=r"model\.channels"):
        DistanceNetwork(2, **(OPTIONS | {"channels": [12]}))


@pytest.mark.parametrize("shape", [(8, 8), (16, 16), (20, 13), (5, 7), (33, 9), (12, 10, 17)])
def test_a_frame_keeps_proportions_and_the_middle(shape):
    coordinates = torch.stack(
        torch.meshgrid(*[torch.linspace(-1, 1, n, dtype=torch.float64) for n in shape], indexing="ij")
    )
    image = torch.exp(-4 * coordinates.square().sum(0))[None, None]
    out = framed(image, 8)
    assert out.shape[2:] == (8,) * len(shape)
    occupied = [int((out[0, 0].movedim(axis, 0).flatten(1) > 0).any(1).sum()) for axis in range(len(shape))]
    for length, found in zip(shape, occupied, strict=True):
        assert found == pytest.approx(8 * length / max(shape), abs=1.1)
    for axis in range(len(shape)):
        mass = out[0, 0].movedim(axis, 0).flatten(1).sum(1)
        assert float((mass * torch.arange(8)).sum() / mass.sum()) == pytest.approx(3.5, abs=0.75)


def test_a_large_image_is_averaged_not_skipped_through():
    image = (torch.arange(64) % 2).double().expand(1, 1, 64, 64)
    torch.testing.assert_close(framed(image, 8), torch.full((1, 1, 8, 8), 0.5, dtype=torch.float64))


@pytest.mark.parametrize("tta_k", [0, 2])
def test_the_similarity_is_symmetric_and_does_not_see_the_batch(run, tta_k):
    distance = mad(run, tta_k=tta_k)
    fixed, moving = images(3, 1, 11, 14)
    found = distance(moving, fixed)
    assert found.shape == (3,)
    for k in range(3):
        torch.testing.assert_close(distance(moving[k : k + 1], fixed[k : k + 1])[0], found[k])
    torch.testing.assert_close(distance(moving, fixed), found)
    if tta_k == 0:
        torch.testing.assert_close(distance(fixed, moving), found)
    else:
        assert not torch.allclose(mad(run, tta_k=tta_k, seed=1)(moving, fixed), found, rtol=1e-4)


def test_brightness_and_contrast_do_not_matter(run):
    distance = mad(run)
    fixed, moving = images(1, 1, 12, 12)
    torch.testing.assert_close(
        distance(3 * moving - 1, 0.2 * fixed + 4), distance(moving, fixed), rtol=1e-3, atol=1e-4
    )


def test_channels_are_averaged(run):
    distance = mad(run)
    fixed, moving = images(2, 2, 9, 9)
    each = [distance(moving[:, k : k + 1], fixed[:, k : k + 1]) for k in range(2)]
    torch.testing.assert_close(distance(moving, fixed), (each[0] + each[1]) / 2)


@pytest.mark.parametrize(("tta_k", "shape"), [(0, (5, 4)), (2, (4, 4))])
def test_first_and_second_derivatives(run, tta_k, shape):
    distance = mad(run, tta_k=tta_k).double()
    fixed, moving = images(1, 1, *shape, dtype=torch.float64)
    moving.requires_grad_(True)
    assert torch.autograd.gradcheck(lambda x: distance(x, fixed), (moving,), eps=1e-7, atol=1e-5)
    assert torch.autograd.gradgradcheck(
        lambda x: distance(x, fixed), (moving,), eps=1e-7, atol=1e-4, nondet_tol=1e-9
    )


def test_the_network_is_frozen_and_the_image_is_not(run):
    distance = mad(run)
    fixed, moving = images(1, 1, 10, 10)
    distance(moving.requires_grad_(True), fixed).sum().backward()
    assert float(moving.grad.abs().sum()) > 0
    assert not any(p.requires_grad for p in distance.parameters())


def test_what_a_mask_leaves_out_may_be_anything(run):
    distance = mad(run, tta_k=2)
    fixed, moving = images(1, 1, 10, 10)
    mask = torch.ones(1, 1, 10, 10)
    mask[..., :3] = 0
    broken = moving.clone()
    broken[..., 0] = torch.nan
    found = distance(broken, fixed, mask=mask)
    torch.testing.assert_close(found, distance(moving, fixed, mask=mask))


def test_images_with_nan_are_named(run):
    fixed, moving = images(1, 1, 10, 10)
    with pytest.raises(DataError, match="fixed image has values that are not finite"):
        mad(run)(moving, fixed.masked_fill(fixed > 0.9, torch.nan))
    with pytest.raises(DataError, match="warped moving image"):
        mad(run)(moving / 0, fixed)


def test_another_dimension_is_explained(run, run_3d):
    fixed, moving = images(1, 1, 8, 8, 8)
    with pytest.raises(CompositionError, match=r"trained on 2-D images, but these are 3-D.*mad_3d"):
        mad(run)(moving, fixed)
    assert mad(run_3d)(moving, fixed).shape == (1,)


def test_no_checkpoint_a_missing_one_and_one_of_another_model(run, tmp_path):
    with pytest.raises(ConfigError, match=r"similarity\.ckpt=RUN"):
        mad(None)
    with pytest.raises(CheckpointError, match="No checkpoint at"):
        mad(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        mad(tmp_path)
    other = tiny_distance(tmp_path / "other", target="medreg.models.gradirn.GraDIRN")
    with pytest.raises(
        CheckpointError, match=r"holds medreg\.models\.gradirn\.GraDIRN, not a trained distance"
    ):
        load_distance(str(other))
    file = run / "checkpoints" / "best.ckpt"
    cut = tmp_path / "cut.ckpt"
    cut.write_bytes(file.read_bytes()[:500])
    with pytest.raises(CheckpointError, match="Cannot read the checkpoint"):
        load_distance(str(cut))
    assert load_distance(str(file)).size == 8


USERS = {
    "instance_affine": ["model=optimise", "transformation=affine", "regularisation=none"],
    "instance_deformable": ["model=optimise", "transformation=svf"],
    "gradirn": ["model=gradirn", "model.regulariser.channels=4"],
    "voxelmorph": ["model=voxelmorph", "model.encoder=[4,4]", "model.decoder=[4]", "model.out=[4]"],
}


@pytest.mark.parametrize("words", USERS.values(), ids=USERS)
def test_any_solver_takes_it_without_new_code(run, words):
    """One training step where there is something to train, one registration elsewhere, through the composed energy."""
    levels = "model.levels=[{shrink: 1, sigma: 0.0, iterations: 3, learning_rate: 0.1}]"
    extra = [levels] if words[0] == "model=optimise" else []
    config = compose(
        [*words, *extra, "similarity=mad", f"similarity.ckpt={run}", "++data.ndim=2", "logger=none"]
    )
    torch.manual_seed(0)
    model = build(config.model)
    fixed, moving = images(2, 1, 12, 12)
    answer = model(fixed, moving, spacing_mm=torch.ones(2, 2))
    assert torch.isfinite(answer.displacement).all()
    if not model.trainable:
        assert float(answer.displacement.abs().max()) > 0
        return
    energy = build(config.task.energy)
    value = energy(fixed, moving, answer.deformation, spacing_mm=torch.ones(2, 2))
    value.total.backward()
    learned = [p for p in model.parameters() if p.requires_grad]
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in learned)
    assert any(float(p.grad.abs().sum()) > 0 for p in learned)


def test_the_inner_gradient_of_gradirn_takes_second_derivatives(run):
    """Of the step size: its gradient is exact, also through the network of the distance."""
    words = ["model.num_blocks=[1]", "model.num_repeat=[2]", "model.regulariser.channels=2"]
    config = compose(["model=gradirn", *words, "similarity=mad", f"similarity.ckpt={run}", "++data.ndim=2"])
    torch.manual_seed(0)
    model = build(config.model).double()
    fixed, moving = images(1, 1, 9, 9, dtype=torch.float64)
    tau = model.levels[0][0].tau
    tau.data.fill_(0.01)

    def loss():
        return model(fixed, moving).displacement.square().sum()

    loss().backward()
    found, step = float(tau.grad), 1e-6
    with torch.no_grad():
        tau.add_(step)
        above = float(loss())
        tau.sub_(2 * step)
        below = float(loss())
    assert found == pytest.approx((above - below) / (2 * step), rel=1e-3)


def test_affine_registration_by_it_is_reproducible_falls_and_stays_in_the_box(run):
    """The distance falls, the pose stays in the box, and a checkpoint loaded anew gives the same (M17, M18)."""
    levels = "model.levels=[{shrink: 1, sigma: 0.0, iterations: 4, learning_rate: 0.05}]"
    words = ["mode=test", "model=affine", levels, "similarity=mad", f"similarity.ckpt={run}"]
    fixed, moving = images(2, 1, 16, 16)
    found, energies = [], []
    for _ in range(2):
        model = build(compose(words).model)
        seen = []
        answer = model(fixed, moving, callback=lambda state, seen=seen: seen.append(state.energies))
        found.append(answer.parameters)
        energies.append(torch.stack(seen))
        with torch.no_grad():
            end, _ = model.energies[0].dissimilarity(fixed, moving, answer.displacement)
        assert (end <= energies[-1][0] + 1e-6).all()
        pose = model.transformation.pose(answer.parameters)
        assert (pose.abs() <= model.transformation.box.vector(2, like=pose) * (1 + 1e-4)).all()
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-5)
    torch.testing.assert_close(energies[0], energies[1], rtol=0, atol=1e-5)
    assert float(found[0].abs().max()) > 1e-3
