"""Search of λ where the best one is known in closed form: u = (1 − λ)·4 and T the squared distance from a wanted u."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conditional_models import ShiftByWeight

from medreg.config.compose import compose
from medreg.config.instantiate import build
from medreg.config.settings import names_of
from medreg.errors import CompositionError, ConfigError, DataError, NumericalError
from medreg.metrics.gradient_energy import gradient_energy, mean_within
from medreg.models.conditional import Regions, SmoothnessRange
from medreg.studies.smoothness.bounds import Clamp, Free, Sigmoid
from medreg.studies.smoothness.job import load_method
from medreg.studies.smoothness.methods import AdamSearch, CoordinateSearch, GridSearch, Trace, grid
from medreg.studies.smoothness.objectives import Correlation, IntensityDice, LabelDice, SearchObjective
from medreg.studies.smoothness.problem import Problem

REACH = 4.0
WANTED = (2.0, 3.0, -1.0)  # voxels in region 0, 1, 2: best λ 0.5, 0.25 and, beyond the range, 1.25
SHARES = (0.5, 0.25, 0.25)


class Distance(SearchObjective):
    """Mean of (u − wanted)², T = Σ_k share_k ((1 − λ_k)·4 − wanted_k)²."""

    requires = frozenset({"fixed_label"})

    def measure(self, batch, displacement):
        wanted = torch.tensor(WANTED)[batch["fixed_label"][:, 0]]
        return (displacement[:, 0] - wanted).square().mean()


def case(name="a"):
    labels = torch.zeros(1, 1, 8, 4, dtype=torch.int64)
    labels[:, :, 4:6], labels[:, :, 6:] = 1, 2
    images = torch.rand(1, 1, 8, 4, generator=torch.Generator().manual_seed(1))
    return {"fixed_image": images, "moving_image": images, "fixed_label": labels, "case": [name]}


def problem(*, by_region=True, cases=1, objective=Distance):
    regions = Regions(((1,), (2,))) if by_region else None
    batches = [case(str(number)) for number in range(cases)]
    model = ShiftByWeight(REACH, takes_maps=True, smoothness=0.9)
    return Problem(model, batches, objective=objective([1, 2]), regions=regions, use_masks=False)


def formula(weights):
    return sum(s * ((1 - w) * REACH - u) ** 2 for s, w, u in zip(SHARES, weights, WANTED, strict=True))


def adam(bound=None, **changes):
    settings = {"learning_rate": 0.05, "iterations": 300, "tolerance": 0.0, "patience": 1, "start": None}
    return AdamSearch(bound=bound or Free(), **{**settings, **changes})


def searched(method, made):
    trace = Trace()
    method.minimise(made, trace)
    return trace


def test_value_and_gradient_are_those_of_the_formula():
    weights = torch.tensor([0.2, 0.7, 0.4])
    made = problem(cases=3)
    value, gradient = made.value_and_gradient(weights)
    assert value == pytest.approx(formula(weights.tolist()), rel=1e-6)
    wanted = [
        -2 * REACH * s * ((1 - w) * REACH - u)
        for s, w, u in zip(SHARES, weights.tolist(), WANTED, strict=True)
    ]
    np.testing.assert_allclose(gradient, wanted, rtol=1e-5)
    assert made.value(weights) == pytest.approx(value)
    assert (made.effort.evaluations, made.effort.gradients) == (6, 3)


def test_descent_finds_the_best_of_every_region():
    assert searched(adam(), problem()).best.weights == pytest.approx((0.5, 0.25, 1.25), abs=2e-3)


def test_bounds_keep_the_range_of_training():
    for bound in (Clamp(), Sigmoid()):
        trace = searched(adam(bound), problem())
        assert all(0 <= value <= 1 for point in trace.points for value in point.weights)
        assert trace.best.weights == pytest.approx((0.5, 0.25, 1.0), abs=0.02)


def test_sigmoid_starts_where_it_is_told():
    trained, bound = SmoothnessRange(0.2, 2.0), Sigmoid()
    weights = torch.tensor([0.3, 1.0, 1.9])
    assert torch.allclose(bound.weights(bound.start(weights, trained), trained), weights, atol=1e-6)


def test_one_weight_for_everything():
    """The mean of the wanted shifts, 1.5 voxels: λ = 1 − 1.5/4."""
    assert searched(adam(), problem(by_region=False)).best.weights == pytest.approx((0.625,), abs=2e-3)


def test_the_released_settings_move_by_less_than_an_eighth():
    trace = searched(load_method("adam_released", ["tolerance=0.0"])[0], problem())
    assert trace.first.weights == pytest.approx((0.5, 0.3, 0.3))
    moved = np.abs(np.subtract(trace.points[-1].weights, trace.first.weights))
    assert moved.max() == pytest.approx(0.12, abs=5e-3)
    assert len(trace.points) == 401


def test_the_search_ends_when_the_objective_stands_still():
    trace = searched(adam(iterations=300, tolerance=1e-5, patience=3), problem())
    assert 20 < len(trace.points) < 300
    values = [point.objective for point in trace.points[-4:]]
    assert np.abs(np.diff(values)).max() < 1e-5


def test_the_best_is_kept_where_steps_are_too_long():
    trace = searched(adam(learning_rate=3.0, iterations=2), problem())
    assert trace.points[-1].objective > trace.best.objective
    assert trace.best.objective <= trace.first.objective


def test_grid_tries_every_value_once():
    trace = searched(GridSearch(step=0.125, start=[0.3]), problem(by_region=False))
    assert [point.weights[0] for point in trace.points[1:]] == pytest.approx(np.linspace(0, 1, 9))
    assert trace.best.weights == pytest.approx((0.625,))


def test_coordinates_reach_the_best_of_the_grid_and_stop():
    made = problem()
    trace = searched(CoordinateSearch(step=0.25, rounds=10, start=None), made)
    assert trace.best.weights == pytest.approx((0.5, 0.25, 1.0))
    tried = [point.weights for point in trace.points]
    assert len(set(tried)) == len(tried)
    assert made.effort.evaluations < 30  # two rounds of three regions with four or five values


def test_a_grid_has_both_ends():
    assert grid(SmoothnessRange(0.0, 1.0), 0.3) == pytest.approx([0, 1 / 3, 2 / 3, 1])


def test_intensity_dice_of_released_code():
    """Two slices, unregistered: by NumPy."""
    images = torch.rand(2, 2, 1, 6, 5, generator=torch.Generator().manual_seed(2))
    batch = {"fixed_image": images[0], "moving_image": images[1], "case": ["a"]}
    first, second = images.numpy()
    scores = [2 * (a * b).sum() / (a + b).sum() for a, b in zip(first, second, strict=True)]
    value = IntensityDice([])(batch, torch.zeros(2, 2, 6, 5))
    assert float(value) == pytest.approx(-np.mean(scores), rel=1e-5)
    assert float(Correlation([])({**batch, "moving_image": images[0] * 3 + 1}, torch.zeros(2, 2, 6, 5))) == (
        pytest.approx(-1, abs=1e-4)
    )


def test_label_dice_is_the_hard_one_at_whole_voxels():
    """A box two pixels wide, moved by one: half of it overlaps; a structure in one map only is left out."""
    fixed, moving = torch.zeros(2, 2, 1, 8, 4, dtype=torch.int64)
    fixed[:, :, 2:4], moving[:, :, 3:5] = 1, 1
    moving[:, :, 7] = 2
    batch = {"fixed_label": fixed, "moving_label": moving, "moving_image": moving.float(), "case": ["a"]}
    field = torch.zeros(2, 2, 8, 4)
    measure = LabelDice([1, 2])
    assert float(measure(batch, field)) == pytest.approx(-0.5)
    field[:, 0] = 1.0
    assert float(measure(batch, field)) == pytest.approx(-1.0)
    field[:, 0] = 0.5
    field.requires_grad_(True)
    (gradient,) = torch.autograd.grad(measure(batch, field), field)
    assert float(gradient[:, 0].sum()) < 0  # a longer step along the first axis is better
    with pytest.raises(DataError, match="share no structure"):
        LabelDice([2])(batch, field)
    with pytest.raises(DataError, match="a has no fixed_label, moving_image, moving_label"):
        measure({"case": ["a"]}, field)


def test_what_is_not_finite_is_named():
    made = problem()
    made.cases[0]["fixed_image"][:] = float("nan")
    made.objective = IntensityDice([])
    with pytest.raises(NumericalError, match="0: the objective is nan"):
        made.value(torch.tensor([0.1, 0.2, 0.3]))


def test_regions_need_a_model_of_maps():
    with pytest.raises(CompositionError, match="one λ for the whole pair"):
        Problem(
            ShiftByWeight(REACH, takes_maps=False),
            [case()],
            objective=Distance([]),
            regions=Regions(((1,),)),
            use_masks=False,
        )


def test_options_are_checked():
    assert set(names_of("smoothness")) == {"adam", "adam_released", "coordinate", "grid"}
    for name in names_of("smoothness"):
        load_method(name)
    for words, told in (
        (("adm", ()), "Methods: adam, adam_released"),
        (("adam", ["learning=0.1"]), "Did you mean learning_rate"),
        (("adam", ["learning_rate=-1"]), "must be positive"),
        (("grid", ["step=0"]), "positive distance"),
        (("grid", ["start=[]"]), "finite numbers"),
    ):
        with pytest.raises(ConfigError, match=told):
            load_method(*words)


def test_gradient_energy_of_a_ramp():
    """u = (0.3 x, 0.2 x): 0.09 + 0.04 but past the last voxel; half of the image has none."""
    x = torch.arange(6.0).clamp_max(3)[:, None].expand(6, 5)
    energy = gradient_energy(torch.stack((0.3 * x, 0.2 * x))[None])
    assert torch.allclose(energy[0, 0, :3], torch.tensor(0.13))
    assert float(energy[0, 0, 3:].abs().max()) == 0
    mask = torch.zeros(1, 1, 6, 5)
    mask[:, :, :2] = 1
    assert float(mean_within(energy, mask)) == pytest.approx(0.13)
    assert float(mean_within(energy, None)) == pytest.approx(0.065)


def test_every_region_of_csain_has_a_gradient():
    """It is finite and not zero for every λ, and agrees with finite differences."""
    words = ["model=csain", "data.ndim=2", "model.start_channels=1", "model.blocks=1", "model.levels=2"]
    torch.manual_seed(0)
    model = build(compose([*words, "model.last_layer_scale=1.0"]).model).double().eval()
    generator = torch.Generator().manual_seed(3)
    images = torch.rand(2, 1, 1, 24, 20, generator=generator, dtype=torch.float64)
    labels = torch.arange(3).repeat_interleave(8)[None, None, :, None].expand(1, 1, 24, 20)
    batch = {"fixed_image": images[0], "moving_image": images[1], "fixed_label": labels, "case": ["a"]}
    regions = Regions(((1,), (2,)))
    made = Problem(model, [batch], objective=Correlation([]), regions=regions, use_masks=False)
    start = torch.tensor([0.5, 0.3, 0.3], dtype=torch.float64)
    _, gradient = made.value_and_gradient(start)
    assert bool((torch.isfinite(gradient) & (gradient != 0)).all())
    step = 1e-6
    for number in range(3):
        shift = torch.zeros_like(start)
        shift[number] = step
        slope = (made.value(start + shift) - made.value(start - shift)) / (2 * step)
        assert float(gradient[number]) == pytest.approx(slope, rel=1e-3, abs=1e-9)
