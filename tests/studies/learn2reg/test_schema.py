"""Metric files of all schemas."""

from __future__ import annotations

import json
import math

import pytest

from medreg.data.datasets.learn2reg_config import read_config
from medreg.errors import DataError
from medreg.studies.learn2reg.schema import COLUMNS, MetricsFile, read_all_metrics, read_metrics

CASE = "0001_0000<--0002_0000"


def metrics():
    return MetricsFile(
        "Task",
        {
            CASE: {
                "DSC": {"mean": 0.5, "detailed": [0.5, math.nan]},
                "HD95": {"mean": math.inf, "detailed": [math.inf]},
            }
        },
        {"DSC": {"mean": 0.5, "std": 0.0, "30": 0.5}},
        medreg={"config": {"evaluation_methods": [{"name": "DSC", "metric": "dice", "labels": [4, 7]}]}},
    )


def test_current_schema_has_the_official_keys_and_ours_apart(tmp_path):  # C8
    content = json.loads(metrics().write(tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert list(content) == ["name", "aggregates", "cases", "eval_version", "medreg"]
    assert content["eval_version"] == "2.0"
    assert set(content["aggregates"]["DSC"]) == {"mean", "std", "30"}
    assert set(content["cases"][CASE]["DSC"]) == {"mean", "detailed"}
    assert math.isnan(content["cases"][CASE]["DSC"]["detailed"][1])
    assert math.isinf(content["cases"][CASE]["HD95"]["mean"])


def test_strict_json_has_null(tmp_path):  # C8
    text = metrics().write(tmp_path / "metrics.json", strict=True).read_text(encoding="utf-8")

    def refuse(token):
        raise AssertionError(token)

    content = json.loads(text, parse_constant=refuse)
    assert content["cases"][CASE]["HD95"]["mean"] is None
    assert math.isnan(read_metrics(tmp_path / "metrics.json").cases[CASE]["HD95"]["mean"])


def test_tidy_table(tmp_path):
    table = read_metrics(metrics().write(tmp_path / "m.json")).table("ours")
    assert tuple(table.columns) == COLUMNS
    dice = table[table.metric == "DSC"]
    assert dice.item.tolist() == [-1, 0, 1]
    assert dice.label.tolist()[1:] == [4, 7]
    assert dice.value.tolist()[:2] == [0.5, 0.5]
    assert table[table.metric == "HD95"].label.isna().all()


def test_schema_1_is_named_by_the_pairs_of_a_config(shared_descriptors):  # C7
    file = shared_descriptors / "example_metrics" / "AbdomenCTCT_example_metrics_schema1.json"
    config = read_config(shared_descriptors / "evaluation_configs" / "AbdomenCTCT_VAL_evaluation_config.json")
    plain, named = read_metrics(file), read_metrics(file, config=config)
    assert plain.version == "1"
    assert len(plain.cases) == 45
    assert next(iter(plain.cases)) == "0"
    assert next(iter(named.cases)) == "0001_0000<--0004_0000"
    assert named.aggregates["DSC"]["mean"] == pytest.approx(0.4707, abs=1e-4)
    means = named.table("example").query("metric == 'DSC' and item == -1").value
    assert means.mean() == pytest.approx(named.aggregates["DSC"]["mean"])
    with pytest.raises(DataError, match="45 cases but the config 10"):
        read_metrics(
            file,
            config=read_config(shared_descriptors / "evaluation_configs" / "NLST_VAL_evaluation_config.json"),
        )


def test_schema_0_holds_several_tasks_under_old_names(tmp_path):  # C7
    part = {
        "case": {"DiceCoefficient": {"0": 0.5, "1": 0.7}, "HausdorffDistance95": {"0": 3.0, "1": 2.0}},
        "aggregates": {"DiceCoefficient": {"mean": 0.6, "std": 0.14}},
    }
    path = tmp_path / "old.json"
    path.write_text(json.dumps({"task_03": part, "task_04": part}), encoding="utf-8")
    assert [file.name for file in read_all_metrics(path)] == ["AbdomenCTCT", "HippocampusMR"]
    found = read_metrics(path, task="HippocampusMR")
    assert found.version == "0"
    assert found.cases["1"]["DSC"]["mean"] == 0.7
    assert set(found.aggregates) == {"DSC"}
    with pytest.raises(DataError, match="choose one"):
        read_metrics(path)


def test_other_json_is_refused(tmp_path):
    path = tmp_path / "other.json"
    path.write_text('{"a": 1}', encoding="utf-8")
    with pytest.raises(DataError, match="neither cases nor tasks"):
        read_metrics(path)
    path.write_text("[1]", encoding="utf-8")
    with pytest.raises(DataError, match="no JSON object"):
        read_metrics(path)
