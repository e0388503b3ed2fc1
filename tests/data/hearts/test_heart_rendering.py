"""Label maps measure what their hearts were asked to measure, on every grid and in every frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medreg.data.phantoms.hearts.course import Cycle
from medreg.data.phantoms.hearts.geometry import plain_shape
from medreg.data.phantoms.hearts.law import Targets
from medreg.data.phantoms.hearts.population import Population, heart
from medreg.data.phantoms.hearts.rendering import LV, MYO, POINTS, RV, HeartGrid, Pose, Samples, place, render
from medreg.errors import ConfigError

GRIDS = {
    "tiny": HeartGrid((32, 32, 16), (5.0, 5.0, 8.0), 10),
    "lite": HeartGrid((64, 64, 32), (2.5, 2.5, 4.0), 20),
    "full": HeartGrid((128, 128, 64), (1.25, 1.25, 2.0), 20),
}
PLAIN = Population(1, 1.0, "none", True, 0, True, "simple")
HARD = Population(1, 1.0, "none", True, 1, True, "physiological")
POPULATIONS = {"plain": PLAIN, "hard": HARD}
MEASURES = ("LVEDV", "LVESV", "LVM", "RVEDV", "RVESV")
# Largest error of one heart against its target, fraction, in the order of MEASURES; then the largest deviation of the
# muscle's volume in a frame from its mean over the cycle.
BOUNDS = {
    "tiny": ((0.11, 0.14, 0.11, 0.15, 0.20), 0.15),
    "lite": ((0.035, 0.04, 0.03, 0.05, 0.06), 0.06),
    "full": ((0.01, 0.02, 0.01, 0.015, 0.03), 0.02),
}


def drawn(population, grid, number) -> tuple[Targets, Cycle, np.ndarray]:
    people = population.people([number])
    aims = population.drawn(people, [number], 1)
    cycle = population.cycle(number, 1, float(people.age_years[0]), grid.frames)
    shape = population.shape(number, aims)
    return aims, cycle, render(heart(shape, aims, cycle.contraction), shape, population.pose_of(people), grid)


def volumes(labels, grid):
    return np.stack([(labels == k).sum((0, 1, 2)) for k in (LV, MYO, RV)]) * np.prod(grid.spacing_mm) / 1000


def check(population, name, numbers):
    grid, (allowed, wander) = GRIDS[name], BOUNDS[name]
    for number in numbers:
        aims, cycle, labels = drawn(population, grid, number)
        left, muscle, right = volumes(labels, grid)
        end = cycle.end_systole
        found = [left[0], left[end], 1.05 * muscle[0], right[0], right[end]]
        wanted = [aims.lvedv_ml, aims.lvesv_ml, aims.lvm_g, aims.rvedv_ml, aims.rvesv_ml]
        errors = np.abs(np.divide(found, np.concatenate(wanted)) - 1)
        assert (errors < allowed).all(), dict(zip(MEASURES, errors, strict=True))
        assert np.abs(muscle / muscle.mean() - 1).max() < wander
        assert int(left.argmin()) == end
        if population is PLAIN:
            assert int(left.argmax()) == 0
            assert end == {10: 4, 20: 8}[grid.frames]
        for axis in range(3):
            assert not np.take(labels, [0, -1], axis).any()


@pytest.mark.parametrize("population", sorted(POPULATIONS))
def test_hearts_of_the_tiny_grid(population):
    check(POPULATIONS[population], "tiny", range(8))


@pytest.mark.slow
@pytest.mark.parametrize("population", sorted(POPULATIONS))
@pytest.mark.parametrize(("name", "numbers"), [("tiny", range(100)), ("lite", range(12)), ("full", range(3))])
def test_many_hearts_of_each_grid(population, name, numbers):
    check(POPULATIONS[population], name, numbers)


@pytest.mark.parametrize("modes", [0, 1])
def test_no_condition_gains_an_effect_by_drawing(modes):
    """The negative control of the right ventricle holds in voxels: pressure does not change it at end-diastole."""
    population = Population(1, 1.0, "none", True, modes, True, "simple")
    grid, sizes = GRIDS["lite"], []
    for number in range(4):
        people = population.people([number])
        pair = []
        for sbp in (110.0, 170.0):
            aims = population.targets(replace(people, sbp_mmhg=np.array([sbp])))
            shape = population.shape(number, aims)
            labels = render(heart(shape, aims, np.zeros(1)), shape, place(None), grid)
            pair.append(volumes(labels, grid)[[0, 2], 0])
        sizes.append(pair[1] - pair[0])
    left, right = np.mean(sizes, axis=0)
    assert left > 10  # mL, the effect
    assert abs(right) < 3  # rasterisation


def test_orientation_apex_first_and_right_ventricle_toward_low_x_and_y():
    _, _, labels = drawn(PLAIN, GRIDS["lite"], 3)
    left, right = (np.argwhere(labels[..., 0] == k).mean(axis=0) for k in (LV, RV))
    assert right[0] < left[0]
    assert right[1] < left[1]
    area = (labels[..., 0] == LV).sum(axis=(0, 1))
    present = np.flatnonzero(area)
    assert area[present[0]] < 0.3 * area.max()
    assert area[present[-1]] > 0.6 * area.max()


def test_the_right_ventricle_lies_in_the_direction_of_the_pose():
    aims = Targets(*(np.array([v]) for v in (150.0, 60.0, 100.0, 170.0, 55.0, 95.0)))
    for degrees in (200.0, 225.0, 250.0):
        made = heart(plain_shape(), aims, np.zeros(1))
        labels = render(made, plain_shape(), Pose(np.deg2rad(degrees), (0.0, 0.0)), GRIDS["lite"])[..., 0]
        left, right = (np.argwhere(labels == k).mean(axis=0)[:2] for k in (LV, RV))
        x, y = right - left
        assert np.rad2deg(np.arctan2(y, x)) % 360 == pytest.approx(degrees, abs=3)


def test_pose_can_be_left_out():
    still = Population(1, 1.0, "none", True, 0, False, "simple")
    assert still.pose_of(still.people([4])) == place(None)
    assert PLAIN.pose_of(PLAIN.people([4])) != place(None)


def test_majority_agrees_with_sampling_every_voxel():
    """Voxels whose neighbours agree are not sampled; the whole grid sampled point by point gives the same map."""
    aims = HARD.drawn(HARD.people([2]), [2], 1)
    shape = HARD.shape(2, aims)
    samples = Samples(heart(shape, aims, np.zeros(1)), shape, place(None), GRIDS["lite"])
    table = samples.made.table[0]
    closed = np.concatenate([table, table[:, :1]], axis=1).astype(np.float32).reshape(-1, 5)
    every = samples._classify(closed, 0, (slice(None), slice(None)))
    votes = np.stack([(every == k).sum(axis=1) for k in range(4)])
    assert votes.sum(axis=0).max() == len(POINTS)
    assert np.array_equal(samples.labels(0).ravel(), votes.argmax(axis=0))


def test_a_grid_that_is_too_small_is_refused():
    with pytest.raises(ConfigError, match="reaches beyond the grid"):
        drawn(PLAIN, HeartGrid((16, 16, 8), (5.0, 5.0, 8.0), 2), 0)
