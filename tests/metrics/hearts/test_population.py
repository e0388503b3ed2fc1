"""Rows of a made population whose effects are known."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hearts_by_hand import EFFECTS, people, pooling, population, values

from medreg.errors import DataError
from medreg.metrics.hearts.measures import MEASURES
from medreg.metrics.hearts.pooled_hearts import age_group
from medreg.metrics.hearts.population import pooled_rows


@pytest.fixture(scope="module")
def faithful():
    """Rows of a model that is right."""
    return pooled_rows(population(), pooling())


@pytest.fixture(scope="module")
def feeble():
    """Rows of a model with half of the effects and of the spread."""
    return pooled_rows(population(1, share=0.5, spread=0.5), pooling())


def test_a_right_model_is_near_in_distribution(faithful):
    near, floor = values(faithful, "w1_sd"), values(faithful, "w1_sd_floor")
    for measure in EFFECTS:
        assert near[measure] < 0.2
        assert floor[measure] < 0.25
        assert values(faithful, "sd_ratio")[measure] == pytest.approx(1.0, abs=0.12)
    assert near["mean"] == pytest.approx(np.mean([near[m] for m in (
        "lvedv_ml", "lvesv_ml", "lvm_g", "rvedv_ml", "rvesv_ml", "lvef_percent")]))  # fmt: skip
    of_groups = {row.metric for row in faithful if row.metric.startswith("w1_sd_all_")}
    assert of_groups == {
        f"w1_sd_all_{end}" for end in ("female", "male", "age_mean", *(f"age_{g}" for g in range(7)))
    }
    assert values(faithful, "w1")["lvedv_ml"] == pytest.approx(near["lvedv_ml"] * 27, rel=0.1)


def test_a_right_model_has_the_real_effects(faithful):
    for place, name in enumerate(("age", "sex", "height", "weight", "sbp")):
        found, real = values(faithful, f"effect_{name}"), values(faithful, f"effect_{name}_real")
        for measure, slopes in EFFECTS.items():
            se = math.hypot(values(faithful, f"effect_{name}_se")[measure], 1e-9)
            assert abs(found[measure] - slopes[place]) < 4 * se
            assert (
                abs(real[measure] - slopes[place]) < 4 * values(faithful, f"effect_{name}_real_se")[measure]
            )
    shares = values(faithful, "effect_sex_percent")
    assert shares["lvm_g"] == pytest.approx(100, abs=15)
    low, high = (values(faithful, f"effect_sex_{end}_percent")["lvm_g"] for end in ("low", "high"))
    assert low < 100 < high


def test_the_raw_difference_of_the_sexes_is_larger_than_the_effect(faithful):
    assert values(faithful, "difference_sex")["lvedv_ml"] > 1.5 * values(faithful, "effect_sex")["lvedv_ml"]
    assert values(faithful, "difference_sex_percent")["lvedv_ml"] == pytest.approx(100, abs=20)


def test_what_is_null_stays_null(faithful):
    found, real = values(faithful, "control_percent"), values(faithful, "control_real_percent")
    assert set(found) == {"rvedv_ml_by_sbp", "rvesv_ml_by_sbp", "lvm_g_by_age_female"}
    assert all(abs(value) < 5 for value in [*found.values(), *real.values()])


def test_a_model_that_follows_is_controllable(faithful):
    assert values(faithful, "controllability")["lvm_g"] > 0.95
    single, real = (values(faithful, f"controllability_{end}")["lvm_g"] for end in ("single", "real"))
    assert single == pytest.approx(real, abs=0.1)


def test_a_feeble_model_is_seen(feeble):
    assert values(feeble, "effect_sex_percent")["lvm_g"] == pytest.approx(50, abs=10)
    assert values(feeble, "effect_age_percent")["lvedv_ml"] == pytest.approx(50, abs=25)
    assert values(feeble, "sd_ratio")["rvedv_ml"] == pytest.approx(0.5, abs=0.1)
    assert values(feeble, "w1_sd")["lvedv_ml"] > 0.3
    assert values(feeble, "two_sample_accuracy")["all"] > 0.65


def test_the_cycle_is_looked_at():
    frame = population(2, cases=40, samples=4, training=60)
    new = frame["source"] == "generated"
    frame.loc[new & (frame["sample"] == 0), "largest_frame"] = 3
    frame.loc[new & (frame["sample"] < 2), "es_frame"] = [5.0] * 40 + [6.0] * 40
    frame.loc[new, "wrap_ml"] = 2.5
    frame.loc[new & (frame["sample"] == 3), "rvedv_ml"] = 0.0
    found = {row.metric: row.value for row in pooled_rows(frame, pooling(trees=2)) if row.structure == "all"}
    assert found["modelled_largest_first_percent"] == 75
    assert found["modelled_es_frame_percent"] == 75
    assert found["modelled_real_es_frame_percent"] == 100
    assert found["wrap_ratio"] == 2.5
    assert found["incomplete_percent"] == 25


def test_the_order_of_the_table_does_not_matter():
    frame = population(3, cases=20, samples=3, training=40)
    mixed = frame.sample(frac=1, random_state=4)
    assert pooled_rows(frame, pooling(resamples=20, trees=5)) == pooled_rows(
        mixed, pooling(resamples=20, trees=5)
    )


def test_data_that_tell_little_are_no_obstacle():
    frame = population(4, cases=20, samples=2, training=0).drop(columns=["sex", "age_years", "sbp_mmhg"])
    found = pooled_rows(frame.assign(group=2.0), pooling(trees=5))
    metrics = {row.metric for row in found}
    assert {"w1", "effect_height", "two_sample_accuracy"} <= metrics
    assert not metrics & {"effect_sex", "w1_sd_female", "judge_r_real", "w1_sd_floor"}
    bare = frame.drop(columns=["height_cm", "weight_kg"])
    assert "w1" in {row.metric for row in pooled_rows(bare, pooling(trees=5))}


def test_hearts_without_anything_to_compare_have_no_rows():
    frame = population(5, cases=8, samples=1, training=5)
    assert pooled_rows(frame[frame["source"] == "real"], pooling()) == []
    assert pooled_rows(frame[:0], pooling()) == []
    few = pooled_rows(frame.groupby("source").head(1), pooling())
    assert all(row.metric.startswith(("w1", "kl", "js", "bhatt", "sd_", "real_", "modelled_", "wrap", "incomplete"))
               for row in few)  # fmt: skip


@pytest.mark.parametrize("value", [0.0, 140.0])
def test_a_model_whose_hearts_are_all_alike_has_rows(value):
    frame = population(6, cases=15, samples=3, training=60)
    new, measures = frame["source"] == "generated", [name for name in frame if name in MEASURES]
    frame.loc[new, measures] = value
    frame.loc[new, ["lvef_percent", "rvef_percent"]] = np.nan if value == 0 else 50.0
    frame.loc[new, "septal_angle_deg"] = np.nan
    found = pooled_rows(frame, pooling(trees=5))
    assert values(found, "sd_ratio")["lvedv_ml"] == 0
    assert values(found, "effect_sex")["lvedv_ml"] == pytest.approx(0, abs=1e-6)
    assert values(found, "two_sample_accuracy")["all"] > 0.9
    assert math.isnan(values(found, "controllability_single")["lvedv_ml"])


def test_a_table_without_its_columns_is_refused():
    with pytest.raises(DataError, match="lvedv_ml"):
        pooled_rows(pd.DataFrame({"case": ["a"], "source": ["real"], "sample": [0]}), pooling())


def test_age_groups_are_those_of_the_released_code():
    assert age_group(np.array([45, 50, 51, 55, 56, 75, 76, 90.0])).tolist() == [0, 0, 1, 1, 2, 5, 6, 6]
    assert math.isnan(age_group(np.array([math.nan]))[0])
    assert people(3, np.random.default_rng(0)).shape == (3, 5)
