"""Rows of hearts that were made older, and of second visits, whose truth is known."""

from __future__ import annotations

import pytest
from ageing_by_hand import ageing
from hearts_by_hand import measured, people, pooling, values
from numpy.random import default_rng

from medreg.metrics.hearts.age_judge import AgeJudge, mean_spearman, within_one_group
from medreg.metrics.hearts.ageing_rows import ageing_rows
from medreg.metrics.hearts.pooled_hearts import Hearts
from medreg.metrics.hearts.population import pooled_rows
from medreg.metrics.hearts.visit_rows import visit_rows


@pytest.fixture(scope="module")
def right():
    return pooled_rows(ageing(), pooling())


def test_a_model_that_ages_rightly_has_the_real_slope(right):
    for sex in ("female", "male"):
        assert values(right, f"ageing_slope_{sex}")["lvedv_ml"] == pytest.approx(-8.0)
        low, high = (values(right, f"ageing_slope_real_{sex}_{end}")["lvedv_ml"] for end in ("low", "high"))
        assert low < -8 < high
        assert values(right, f"ageing_change_{sex}")["lvedv_ml"] == pytest.approx(-8 * (79 - 47.5) / 10)
        assert values(right, f"ageing_inversions_{sex}")["lvedv_ml"] == 0
        assert values(right, f"ageing_change_{sex}_percent")["lvm_g"] == 0  # what does not age


def test_identity_is_told_within_the_sex(right):
    for sex in ("female", "male"):
        # Ageing by own years shifts people of other ages by other amounts: r stays below 1.
        assert 0.9 < values(right, f"identity_r_{sex}")["lvedv_ml"] < 1.0
        assert values(right, f"reconstruction_r_{sex}")["lvedv_ml"] == pytest.approx(1.0)
    lost = list(ageing_rows(Hearts(ageing(noise=40.0)), pooling()))
    assert values(lost, "identity_r_male")["lvedv_ml"] < 0.5


def test_a_mean_heart_of_each_sex_has_no_identity():
    frame = ageing()
    made = frame["source"].isin(["aged", "reconstructed"])
    frame.loc[made, "lvedv_ml"] = 120.0 + 40 * frame.loc[made, "sex"]
    found = list(ageing_rows(Hearts(frame), pooling()))
    assert "lvedv_ml" not in values(
        found, "identity_r_male"
    )  # no spread, no correlation, and no 1.00 by sex alone


def test_a_turned_septum_is_seen():
    frame = ageing()
    aged = frame["source"] == "aged"
    frame.loc[frame["source"] == "reconstructed", "septal_angle_deg"] = 175.0
    frame.loc[aged, "septal_angle_deg"] = -177.0  # 8° further, across ±180°
    assert values(list(ageing_rows(Hearts(frame), pooling())), "septal_turn_deg")["all"] == pytest.approx(8.0)


def test_the_judge_has_seen_real_training_hearts_alone(right):
    assert values(right, "judge_spearman")["all"] > 0.7
    assert 0.2 < values(right, "judge_r_real")["all"] < 0.95
    ages = [values(right, f"judge_age_{group}")["all"] for group in range(7)]
    assert ages == sorted(ages)
    frame = ageing()
    without = frame[frame["source"] != "real_training"]
    assert not [row for row in pooled_rows(without, pooling()) if row.metric.startswith("judge")]


def test_a_judge_of_ages_that_show_is_right():
    generator = default_rng(1)
    hearts = [
        measured(people(count, generator), generator, spread=0.1).assign(case="x") for count in (400, 100)
    ]
    judge = AgeJudge.trained(hearts[0])
    ages = judge.ages(hearts[1])
    groups = Hearts(hearts[1].assign(source="real", sample=0)).frame
    assert within_one_group(judge.ages(groups), groups["age_group"].to_numpy()) > 0.7
    assert abs(ages - hearts[1]["age_years"]).mean() < 6
    assert AgeJudge.trained(hearts[0].head(10)) is None


def test_ranks_are_averaged_over_people():
    import numpy as np

    ages = np.array([50.0, 60, 70, 70, 60, 50])
    groups = np.array([0.0, 3, 6, 0, 3, 6])
    assert mean_spearman(ages, groups, ["a"] * 3 + ["b"] * 3) == pytest.approx(0.0)
    assert mean_spearman(ages, groups, ["a"] * 3 + ["b", "c", "d"]) == pytest.approx(1.0)


def test_second_visits_that_are_foreseen_have_no_bias(right):
    assert abs(values(right, "visit_bias_long")["lvedv_ml"]) < 2
    no_change = values(right, "no_change_bias_long")["lvedv_ml"]
    assert 8 < no_change < 12  # 8 mL a decade over 10 to 15 years
    assert values(right, "visit_change_real_long")["lvedv_ml"] == pytest.approx(-no_change)
    assert values(right, "visit_r")["lvedv_ml"] > 0.4
    assert values(right, "visit_mae_long")["lvedv_ml"] < values(right, "no_change_mae_long")["lvedv_ml"]
    pairs = [values(right, f"visit_pairs{end}")["lvedv_ml"] for end in ("_female", "_male", "")]
    assert pairs[0] + pairs[1] == pairs[2] == 120


def test_no_change_has_the_bias_of_no_change():
    found = list(visit_rows(Hearts(ageing(share=0.0)), pooling()))
    for end in ("", "_long", "_long_male"):
        assert values(found, f"visit_bias{end}")["lvedv_ml"] == pytest.approx(
            values(found, f"no_change_bias{end}")["lvedv_ml"]
        )


def test_what_an_autoencoder_blurs_cancels():
    frame = ageing()
    frame.loc[frame["source"].isin(["aged", "reconstructed"]), "lvedv_ml"] -= 20
    found = list(visit_rows(Hearts(frame), pooling()))
    assert abs(values(found, "visit_bias")["lvedv_ml"]) < 2
    assert values(found, "visit_raw_bias")["lvedv_ml"] == pytest.approx(-20, abs=2)


@pytest.mark.parametrize(("width", "low", "high"), [(1.0, 70, 88), (0.3, 20, 45), (3.0, 98, 100.1)])
def test_an_interval_holds_as_many_as_it_should(width, low, high):
    found = list(visit_rows(Hearts(ageing(width=width, samples=40)), pooling()))
    assert low < values(found, "interval_coverage_percent")["lvedv_ml"] < high


def test_a_model_without_draws_has_no_interval():
    found = list(visit_rows(Hearts(ageing(samples=0)), pooling()))
    assert not values(found, "interval_coverage_percent")


def test_cross_sections_compare_aged_hearts_with_real_ones_of_their_group(right):
    own, real = values(right, "w1_sd_all_age_mean"), values(right, "w1_sd_all_age_6")
    assert own["lvedv_ml"] < 0.6
    assert "lvedv_ml" in real


def test_data_without_second_visits_have_no_rows_of_them():
    frame = ageing()
    alone = frame[frame["gap_years"].isna()].drop(columns="gap_years")
    metrics = {row.metric for row in pooled_rows(alone, pooling())}
    assert not [name for name in metrics if name.startswith(("visit", "interval"))]
    assert "ageing_slope_male" in metrics
