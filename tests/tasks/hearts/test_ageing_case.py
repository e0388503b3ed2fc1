"""What is found of one heart: the rows, the table of hearts, the second visit."""

from __future__ import annotations

import math

import pytest
import torch
from small_ageing import SIZE, ageing_batch, codes, small_ageheart

from medreg.errors import ConfigError
from medreg.metrics.hearts.evaluator import HeartEvaluator
from medreg.metrics.hearts.pooling import Pooling
from medreg.models.hearts.group_shift import NoChange
from medreg.tasks.hearts.ageing_case import AgeingEvaluation
from medreg.tasks.hearts.second_visit import VisitSpread

LABELS = {"LV": 1, "MYO": 2, "RV": 4}


def evaluation(**options):
    pooling = Pooling(
        steps={}, resamples=2, folds=2, repeats=1, least=5, neighbours=2, long_gap_years=10.0, interval=0.8, seed=1,
        **({"trees": 5} if "trees" in Pooling.__dataclass_fields__ else {}),
    )  # fmt: skip
    evaluator = HeartEvaluator(
        LABELS, phases="edes", surface=False, surface_of_samples=False, lost="exclude", pooling=pooling
    )
    chosen = {
        "source": "prior",
        "samples": 3,
        "shift_mm": (-10.0, 10.0),
        "spread": VisitSpread(relative={"lvedv_ml": 0.05}, absolute={}, draws=6),
        **options,
    }
    return AgeingEvaluation(evaluator, **chosen)


def scored(model, *, gap=12.0, **options):
    return evaluation(**options)(
        model.eval(), ageing_batch(1, gap=gap), name="ageheart", device=torch.device("cpu"), seed=1
    )


def rows_of(result, source):
    return [row for row in result.tables["measures"] if row["source"] == source]


def no_change():
    return NoChange(codes(), frames=2, classes=4, size=SIZE)


def test_the_table_of_hearts():
    result = scored(small_ageheart())
    counts = {
        source: len(rows_of(result, source)) for source in ("real", "reconstructed", "generated", "later")
    }
    assert counts == {"real": 1, "reconstructed": 1, "generated": 3, "later": 1}
    aged = rows_of(result, "aged")
    groups = [row for row in aged if math.isnan(row["gap_years"])]
    assert [row["to_group"] for row in groups] == list(range(7))
    assert [row["to_age_years"] for row in groups] == [48.5, 53.5, 58.5, 63.5, 68.5, 73.5, 78.5]
    visits = [row for row in aged if not math.isnan(row["gap_years"])]
    assert [row["sample"] for row in visits] == list(range(7))  # the best guess, and six draws
    assert visits[0]["gap_years"] == pytest.approx(12.0, abs=1e-4)
    assert len({tuple(row) for row in result.tables["measures"]}) == 1  # the same columns everywhere
    real, later = rows_of(result, "real")[0], rows_of(result, "later")[0]
    assert later["age_years"] - real["age_years"] == pytest.approx(12.0, abs=1e-4)
    assert later["lvedv_ml"] < real["lvedv_ml"]


def test_rows_by_method():
    result = scored(small_ageheart())
    assert list(result.rows) == ["ageheart later", "ageheart later aligned", "ageheart"]
    found = {(row.structure, row.metric): row.value for row in result.rows["ageheart"]}
    assert -1 <= found["all", "identity_cosine"] <= 1
    assert found["all", "inner_age_right_made_percent"] == pytest.approx(100 / 7, abs=43)
    assert found["all", "inner_age_right_real_percent"] in (0.0, 100.0)
    assert ("lvedv_ml", "sex_flip") in found
    assert {"label", "reconstructed", "aged", "later", "predicted"} <= set(result.arrays)


def test_no_change_gives_the_heart_back_and_misses_the_years():
    result = scored(no_change())
    found = {(row.structure, row.metric): row.value for row in result.rows["ageheart"]}
    assert found["mean", "dice"] == 1.0
    assert found["lvedv_ml", "sex_flip"] == 0.0
    raw, aligned = (
        next(
            row.value
            for row in result.rows[f"ageheart {name}"]
            if (row.structure, row.metric) == ("mean", "dice")
        )
        for name in ("later", "later aligned")
    )
    assert raw < aligned < 1.0  # the later heart lies a voxel aside, and is smaller
    assert rows_of(result, "generated") == []
    real = rows_of(result, "real")[0]["lvedv_ml"]
    drawn = [row["lvedv_ml"] for row in rows_of(result, "aged") if row["sample"] > 0]
    assert sum(drawn) / len(drawn) == pytest.approx(real)


def test_translated_hearts_count_at_the_age_that_they_were_brought_to():
    result = scored(no_change(), source="translate")
    generated = rows_of(result, "generated")
    assert [row["age_years"] for row in generated] == [48.5, 53.5, 58.5, 63.5, 68.5, 73.5, 78.5]


def test_people_seen_once_have_no_second_visit():
    result = scored(small_ageheart(), gap=None)
    assert list(result.rows) == ["ageheart"]
    assert rows_of(result, "later") == []


def test_what_is_drawn_follows_from_seed_and_case():
    one, two = (scored(small_ageheart()).tables["measures"] for _ in range(2))
    assert str(one) == str(two)


def test_an_unknown_source_is_refused():
    with pytest.raises(ConfigError, match=r"task.evaluation.source is 'both'; choose prior or translate"):
        evaluation(source="both")
