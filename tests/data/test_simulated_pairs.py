"""Simulated pairs: the prior's law against closed forms, a truth that makes the fixed image, and the files."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from data_build import data_module
from scipy import fft, stats

from medreg.data.phantoms.simulated import SimulatedPairs
from medreg.data.phantoms.simulated_images import CorrelatedNoise, ImageOptions, WhiteNoise
from medreg.data.phantoms.simulated_motion import BumpMotion, SlidingMotion
from medreg.data.phantoms.simulated_prior import PriorMotion, axis_modes
from medreg.errors import ConfigError
from medreg.geometry.bspline import evaluate_bspline
from medreg.geometry.derivatives import jacobian_determinant
from medreg.geometry.warp import warp
from medreg.losses.regularisation.diffusion import Diffusion

IMAGE = ImageOptions(
    structures=3, radius=(0.15, 0.3), edge_voxels=1.5, texture=0.1, grain_voxels=1.0, flat=0.1, background=0.5
)
PRIOR = PriorMotion(weight=0.5, shift_voxels=0.3, stride=4, steps=7)


def simulated(root, **changes) -> SimulatedPairs:
    options = {
        "pairs": 2,
        "validation_pairs": 1,
        "training_pairs": 0,
        "shape": (16, 18, 20),
        "spacing_mm": (1.0, 1.0, 1.0),
        "seed": 3,
        "motion": PRIOR,
        "image": IMAGE,
        "noise": WhiteNoise(sigma=0.0),
    }
    return SimulatedPairs(root, **{**options, **changes})


# -- the law of the prior --------------------------------------------------------------------------------


def test_modes_of_a_dense_axis_are_the_cosines_of_dct():
    n = 12
    modes = axis_modes(n, None, "velocity")
    assert modes.values == pytest.approx(2 - 2 * np.cos(np.pi * np.arange(n) / n), abs=1e-12)
    cosines = fft.dct(np.eye(n), norm="ortho", axis=0).T
    assert np.abs(modes.vectors.T @ cosines) == pytest.approx(np.eye(n), abs=1e-9)


def linear_map(motion: PriorMotion, shape, spacing) -> np.ndarray:
    """(parameters, noise): what `parameters` makes of unit noise, column by column."""
    size = motion.deviations(shape, spacing).shape
    count = int(np.prod(size))
    return np.stack(
        [
            motion.parameters(shape, spacing, lambda _, k=k: np.eye(count)[k].reshape(size)).ravel()
            for k in range(count)
        ],
        axis=1,
    )


def precision(motion: PriorMotion, shape, spacing) -> np.ndarray:
    """Hessian of the energy ½ w N R(v) of the framework's own regulariser in the parameters."""
    theta = torch.zeros(motion.deviations(shape, spacing).shape, dtype=torch.float64)
    regulariser = Diffusion(weight=1.0, units="mm")

    def energy(flat: torch.Tensor) -> torch.Tensor:
        field = flat.view(1, *theta.shape)
        if motion.stride is not None and motion.regularised == "velocity":
            field = evaluate_bspline(field, shape, motion.stride)
        voxels = np.prod(field.shape[2:])
        mean = regulariser(field, spacing_mm=torch.tensor(spacing, dtype=torch.float64))
        return 0.5 * motion.weight * float(voxels) * mean.sum()

    return torch.autograd.functional.hessian(energy, theta.flatten()).numpy()


@pytest.mark.parametrize(
    ("stride", "regularised", "shape", "spacing"),
    [
        (None, "velocity", (5, 7), (1.0, 2.5)),
        (None, "velocity", (3, 4, 5), (1.0, 1.0, 2.0)),
        (3, "velocity", (8, 11), (1.0, 1.5)),
        (4, "velocity", (6, 5, 6), (1.0, 1.0, 1.0)),
        (3, "control_grid", (8, 11), (1.0, 1.5)),
    ],
)
def test_covariance_is_the_inverse_of_the_energys_hessian(stride, regularised, shape, spacing):
    motion = PriorMotion(0.7, 0.4, stride, 3, regularised)
    root, hessian = linear_map(motion, shape, spacing), precision(motion, shape, spacing)
    product = root.T @ hessian @ root  # of whitened modes: one each, but for the constants
    moving = np.diag(product) > 0.5
    assert (~moving).sum() == len(shape)
    assert product == pytest.approx(np.diag(moving.astype(float)), abs=1e-7)
    constants = root[:, ~moving]
    assert np.abs(constants).max(0) == pytest.approx(0.4)
    size = len(root) // len(shape)
    for column in constants.T:
        kept = column.reshape(len(shape), size)
        assert np.ptp(kept, axis=1) == pytest.approx(0, abs=1e-9)


def test_energy_of_draws_is_chi_square():
    shape, spacing = (10, 12), (1.0, 1.0)
    motion = PriorMotion(2.0, 5.0, None, 0)
    regulariser = Diffusion(weight=1.0)
    values = [
        2.0
        * 120
        * float(regulariser(torch.from_numpy(motion.draw(shape, spacing, np.random.default_rng(k)))[None]))
        for k in range(300)
    ]
    freedom = 2 * (120 - 1)
    assert stats.kstest(values, stats.chi2(freedom).cdf).pvalue > 0.01


def test_steps_integrate_as_the_models_transformation_does():
    dense = PriorMotion(1.0, 0.3, None, 6)
    theta = dense.parameters((9, 10), (1.0, 1.0), np.random.default_rng(0).standard_normal)
    expected = dense.transformation()(torch.from_numpy(theta)[None], (9, 10)).displacement[0].numpy()
    assert dense.draw((9, 10), (1.0, 1.0), np.random.default_rng(0)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"weight": 0.0}, "weight > 0"),
        ({"regularised": "u"}, "regularised"),
        ({"stride": 1}, "stride is 1"),
        ({"shift_voxels": -1.0}, "shift_voxels"),
    ],
)
def test_laws_that_make_no_sense_are_refused(changes, word):
    with pytest.raises(ConfigError, match=word):
        PriorMotion(**{"weight": 1.0, "shift_voxels": 0.1, "stride": 4, "steps": 7, **changes})


# -- pairs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(16, 18, 20), (24, 22)])
@pytest.mark.parametrize(
    "motion",
    [PRIOR, BumpMotion(3, 2.0, (3.0, 6.0)), SlidingMotion(4.0, 1.0, 5.0)],
    ids=lambda m: type(m).__name__,
)
def test_the_truth_makes_the_fixed_image_exactly(tmp_path, shape, motion):
    made = simulated(tmp_path, shape=shape, spacing_mm=(1.0, 1.5, 2.0)[: len(shape)], motion=motion).pair(1)
    field = torch.from_numpy(made["displacement"])[None]
    again = warp(torch.from_numpy(made["moving"])[None, None], field)[0, 0].numpy()
    assert np.array_equal(again, made["fixed"])
    labels = torch.from_numpy(made["moving_label"])[None, None]
    assert np.array_equal(warp(labels, field, mode="nearest", padding="zeros")[0, 0], made["fixed_label"])
    assert np.abs(made["displacement"]).max() > 0.05
    assert set(np.unique(made["moving_label"])) == {0, 1, 2, 3}


def test_white_noise_is_what_it_says():
    image = np.zeros((40, 40, 40))
    noise = WhiteNoise(0.2).apply(image, np.random.default_rng(0))
    assert noise.std() == pytest.approx(0.2, rel=0.01)
    assert stats.kstest(noise.ravel() / 0.2, "norm").pvalue > 0.01
    assert abs(np.mean(noise[1:] * noise[:-1])) < 0.02 * 0.04


def test_other_noise_is_correlated_and_has_tails():
    image = np.ones((40, 40, 40))
    law = CorrelatedNoise(sigma=0.2, width_voxels=0.8, freedom=4.0, bias=0.0, bias_voxels=8.0)
    noise = law.apply(image, np.random.default_rng(0)) - image
    assert noise.std() == pytest.approx(0.2, rel=0.02)
    assert np.mean(noise[1:] * noise[:-1]) > 0.3 * 0.04
    assert stats.kurtosis(noise.ravel()) > 0.5
    drift = CorrelatedNoise(sigma=0.0, width_voxels=0.8, freedom=4.0, bias=0.1, bias_voxels=8.0)
    assert np.log(drift.apply(image, np.random.default_rng(0))).std() == pytest.approx(0.1)


def test_bumps_do_not_fold_and_sliding_jumps():
    for k in range(10):
        bumps = BumpMotion(4, 3.0, (3.0, 6.0)).draw((24, 24, 24), (1.0, 1.0, 1.0), np.random.default_rng(k))
        assert float(jacobian_determinant(torch.from_numpy(bumps)[None]).min()) > 0
    slide = SlidingMotion(6.0, 0.5, 8.0).draw((32, 32), (1.0, 1.0), np.random.default_rng(0))
    steps = np.abs(np.diff(slide, axis=1)).max() + np.abs(np.diff(slide, axis=2)).max()
    assert steps > 0.5 * np.abs(slide).max()


def test_a_pair_depends_on_seed_and_number_alone(tmp_path):
    few = simulated(tmp_path, noise=WhiteNoise(0.05))
    many = simulated(tmp_path, noise=WhiteNoise(0.05), pairs=7, validation_pairs=4, training_pairs=3)
    for number in (1, 2, 10_001):
        first, second = few.pair(number), many.pair(number)
        assert all(np.array_equal(first[key], second[key]) for key in first)
    assert not np.array_equal(few.pair(1)["fixed"], few.pair(2)["fixed"])
    assert not np.array_equal(few.pair(1)["fixed"], simulated(tmp_path, seed=4).pair(1)["fixed"])
    assert few.folder != many.folder != simulated(tmp_path, motion=BumpMotion(3, 2.0, (3.0, 6.0))).folder
    numbers = {name: number for name, _, number in few.cases()}
    assert numbers.items() <= {name: number for name, _, number in many.cases()}.items()


@pytest.mark.parametrize("changes", [{"pairs": 0}, {"shape": (4, 20, 20)}, {"spacing_mm": (1.0, 1.0)}])
def test_numbers_that_make_no_data_set_are_refused(tmp_path, changes):
    with pytest.raises(ConfigError, match=r"data\.dataset\.prepare"):
        simulated(tmp_path, **changes)


@pytest.mark.parametrize(
    "name", ["simulated_pairs", "simulated_pairs_unlike", "simulated_pairs_sliding", "simulated_pairs_slices"]
)
def test_batches_are_what_was_drawn(tmp_path, name):
    sizes = [
        "dataset.prepare.pairs=2",
        "dataset.prepare.validation_pairs=1",
        "dataset.prepare.training_pairs=1",
    ]
    flat = name.endswith("slices")
    shape = (20, 18) if flat else (12, 14, 16)
    sizes.append(f"dataset.prepare.shape=[{','.join(map(str, shape))}]")
    data = data_module(name, tmp_path, *sizes)
    data.setup()
    assert {stage: len(data.items(stage)) for stage in ("train", "val", "test")} == {
        "train": 1,
        "val": 1,
        "test": 2,
    }
    assert {"displacement", "fixed_label", "moving_label"} <= data.provides
    made = data.dataset.generator.pair(1)
    batch = next(iter(data.test_dataloader()))
    assert batch["case"] == ["test0001"]
    assert batch["fixed_image"].shape == (1, 1, *shape)
    assert np.array_equal(batch["fixed_image"][0, 0], made["fixed"])
    assert np.array_equal(batch["moving_label"][0, 0], made["moving_label"])
    assert batch["displacement"][0].numpy() == pytest.approx(made["displacement"], abs=1e-6)
    assert batch["spacing_mm"][0].tolist() == [1.0] * len(shape)
