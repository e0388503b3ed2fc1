"""Aligning a second visit, and the stated scatter around its prediction."""

from __future__ import annotations

import math

import pytest
import torch
from beating_hearts import beating, people

from medreg.errors import ConfigError
from medreg.tasks.hearts.second_visit import VisitSpread, best_shift, shifted

LIMITS = [(-2, 2), (-2, 2)]


def heart():
    return beating(people(1), frames=2, size=(16, 16, 8))[0]


def test_a_shift_is_found_again():
    shape = heart()
    for shift in ((0, 0), (1, -2), (-2, 0)):
        moved = shifted(shape, (-shift[0], -shift[1]))
        assert best_shift(shape, moved, LIMITS) == shift
        assert torch.equal(shifted(moved, shift)[:, 3:-3, 3:-3], shape[:, 3:-3, 3:-3])


def test_nothing_comes_in_from_the_other_side():
    shape = torch.ones(1, 4, 4, 2, dtype=torch.uint8)
    moved = shifted(shape, (1, -1))
    assert moved[0, 0].sum() == 0
    assert moved[0, :, 3].sum() == 0
    assert moved.sum() == 3 * 3 * 2


def test_of_equal_shifts_the_smallest():
    empty = torch.zeros(2, 8, 8, 4, dtype=torch.uint8)
    assert best_shift(empty, empty, LIMITS) == (0, 0)


def spread(**options):
    return VisitSpread(
        **{"relative": {"lvedv_ml": 0.05}, "absolute": {"lvef_percent": 2.0}, "draws": 400, **options}
    )


def drawn(first, back, aged, step=0.0, **options):
    steps = dict.fromkeys(first, step)
    found = spread(**options).draw(first, back, aged, steps, torch.Generator().manual_seed(0))
    return {name: torch.tensor([each[name] for each in found]) for name in first}


def test_predictions_scatter_around_the_corrected_change():
    first = {"lvedv_ml": 150.0, "lvef_percent": 60.0, "lvm_g": 90.0}
    back = {"lvedv_ml": 140.0, "lvef_percent": 58.0, "lvm_g": 80.0}
    aged = {"lvedv_ml": 126.0, "lvef_percent": 59.0, "lvm_g": 80.0}
    found = drawn(first, back, aged)
    centre = 150.0 * 126 / 140  # the change of 10 % of what the model gives back, on the real heart
    assert float(found["lvedv_ml"].mean()) == pytest.approx(centre)
    assert float(found["lvedv_ml"].std()) == pytest.approx(0.05 * centre, rel=0.03)
    assert float(found["lvef_percent"].mean()) == pytest.approx(61.0)
    assert float(found["lvef_percent"].std()) == pytest.approx(2.0, rel=0.03)
    assert found["lvm_g"].isnan().all()  # nothing is assumed of it


def test_an_interval_of_the_draws_covers_what_it_says():
    first = dict.fromkeys(("lvedv_ml", "lvef_percent"), 100.0)
    found = drawn(first, first, first, draws=20)["lvedv_ml"]
    low, high = found.quantile(0.1), found.quantile(0.9)
    z = torch.randn(20000, generator=torch.Generator().manual_seed(1)) * 5 + 100
    assert float(((z >= low) & (z <= high)).float().mean()) == pytest.approx(0.8, abs=0.01)
    assert spread(draws=0).draw(first, first, first, first, torch.Generator()) == []


def test_ages_within_groups_widen_it():
    first = {"lvedv_ml": 100.0}
    found = drawn(first, first, first, step=9.0)["lvedv_ml"]
    assert float(found.std()) == pytest.approx(math.hypot(5.0, 9.0 / math.sqrt(6)), rel=0.03)
    ages = 5 * torch.rand(2, 20000, generator=torch.Generator().manual_seed(0))  # years within two groups
    assert float((ages[1] - ages[0]).std()) / 5 == pytest.approx(1 / math.sqrt(6), rel=0.02)


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ConfigError, match=r"lvedv_ml under relative and absolute"):
        spread(absolute={"lvedv_ml": 3.0})
    with pytest.raises(ConfigError, match=r"the spread of lvedv_ml in task.evaluation.spread is -1"):
        spread(relative={"lvedv_ml": -1.0})
    assert math.isfinite(spread().draws)
