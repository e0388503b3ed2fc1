"""Regression on conditions recovers what is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hearts_by_hand import EFFECTS, STEPS, measured, people

from medreg.metrics.hearts.effects import effects, predicted, ratios, usable

NAMES = list(STEPS)


def hearts(seed, count=800, samples=1, **changed):
    generator = np.random.default_rng(seed)
    told = people(count, generator).assign(case=[f"{seed}_{number}" for number in range(count)])
    asked = pd.concat([told] * samples, ignore_index=True)
    return measured(asked, generator, **changed)


def test_slopes_are_recovered_with_their_intervals():
    found = effects(hearts(1, 3000), list(EFFECTS), NAMES, STEPS)
    for measure, slopes in EFFECTS.items():
        for name, slope in zip(NAMES, slopes, strict=True):
            effect = found[measure][name]
            assert abs(effect.value - slope) < 3.5 * effect.se
            assert effect.low < effect.value < effect.high
            assert effect.se < 1.2


def test_intervals_hold_the_truth_as_often_as_they_say():
    slope, name = EFFECTS["lvedv_ml"][0], "age_years"
    held = [
        effect.low <= slope <= effect.high
        for seed in range(60)
        for effect in [effects(hearts(seed, 120), ["lvedv_ml"], NAMES, STEPS)["lvedv_ml"][name]]
    ]
    assert 0.85 <= np.mean(held) <= 1.0


def test_hearts_of_one_case_do_not_count_as_so_many_people():
    # Twenty equal hearts a case: what is known is what one of them says.
    once = hearts(2, 150)
    many = pd.concat([once] * 20, ignore_index=True)
    one, twenty = (effects(frame, ["lvm_g"], NAMES, STEPS)["lvm_g"]["sex"] for frame in (once, many))
    assert twenty.value == pytest.approx(one.value)
    assert twenty.se == pytest.approx(one.se, rel=0.1)


def test_a_weaker_effect_is_a_share_of_the_real_one_within_its_interval():
    found = ratios(
        hearts(3, 800),
        hearts(4, 150, samples=10, share=0.6),
        ["lvedv_ml", "lvm_g"],
        NAMES,
        STEPS,
        resamples=300,
        seed=1,
    )
    sex = found["lvm_g"]["sex"]
    assert sex.low < 0.6 < sex.high
    assert sex.value == pytest.approx(0.6, abs=0.15)
    assert 0.02 < sex.high - sex.low < 0.6
    again = ratios(
        hearts(3, 800),
        hearts(4, 150, samples=10, share=0.6),
        ["lvedv_ml", "lvm_g"],
        NAMES,
        STEPS,
        resamples=300,
        seed=1,
    )
    assert again == found


def test_conditions_that_nobody_tells_or_that_do_not_differ_are_left_out():
    frame = hearts(5, 100).drop(columns="sbp_mmhg").assign(sex=1.0, height_cm=np.nan)
    assert usable(frame, STEPS) == ["age_years", "weight_kg"]
    assert effects(frame.head(6), ["lvm_g"], ["age_years", "weight_kg"], STEPS) == {}


def test_predictions_at_other_conditions_follow_the_real_regression():
    real, asked = hearts(6, 3000), hearts(7, 50)
    found = predicted(real, asked, "rvedv_ml", NAMES, STEPS)
    steps = (asked[NAMES] - [60, 0, 165, 75, 135]) / list(STEPS.values())
    assert found == pytest.approx(150 + steps.to_numpy() @ np.array(EFFECTS["rvedv_ml"]), abs=4)
