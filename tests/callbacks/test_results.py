"""Evaluated cases: whole or not there, shown as CSV, not scored again for the same evaluation."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from medreg.callbacks.results import Results
from medreg.callbacks.tabular import read_rows
from medreg.metrics.rows import MetricRow
from medreg.tasks.results import CaseResult

EVALUATED = {"checkpoint": "best.ckpt epoch 3", "data": {"size": 16}}


def result(case, value=0.5, **more):
    return CaseResult(case, {"net": [MetricRow("mean", "dice", value, "1")]}, **more)


def begun(folder, evaluated=EVALUATED):
    callback = Results()
    return callback, callback.begin(folder, evaluated, main=True)


def score(callback, folder, *results):
    trainer = SimpleNamespace(default_root_dir=str(folder), world_size=1)
    for number, each in enumerate(results):
        callback.on_test_batch_end(trainer, None, each, {}, number)


def values(folder, name="results"):
    return {row["case"]: row for row in read_rows(folder / f"{name}.csv")}


def test_identifying_columns_are_those_of_the_kind(tmp_path):
    callback, _ = begun(tmp_path)
    score(callback, tmp_path, result("a", columns={"fixed": "f", "moving": "m"}))
    assert list(values(tmp_path)["a"]) == [
        "run", "model", "data", "split", "case", "fixed", "moving", "method", "structure", "metric", "value", "unit",
    ]  # fmt: skip


def test_an_interrupted_evaluation_goes_on(tmp_path):
    callback, done = begun(tmp_path)
    assert done == frozenset()
    score(callback, tmp_path, result("a"), result("b"))
    store = tmp_path / "store" / "results.jsonl"
    store.write_bytes(store.read_bytes()[:-9])  # killed while the second case was stored
    (tmp_path / "results.csv").write_text((tmp_path / "results.csv").read_text() + "run,half a li")
    callback, done = begun(tmp_path)
    assert done == {"a"}
    assert set(values(tmp_path)) == {"a"}
    score(callback, tmp_path, result("b", 0.7))
    assert {case: row["value"] for case, row in values(tmp_path).items()} == {"a": "0.5", "b": "0.7"}


def test_the_table_is_made_again_from_the_store(tmp_path):
    callback, _ = begun(tmp_path)
    score(callback, tmp_path, result("a"), result("b", float("nan")))
    before = (tmp_path / "results.csv").read_text()
    (tmp_path / "results.csv").unlink()
    begun(tmp_path)
    assert (tmp_path / "results.csv").read_text() == before


def test_another_evaluation_begins_anew_and_says_of_what(tmp_path):
    callback, _ = begun(tmp_path)
    score(callback, tmp_path, result("a"))
    callback, done = begun(tmp_path, {"checkpoint": "last.ckpt"})
    assert done == frozenset()
    assert not values(tmp_path)
    assert json.loads((tmp_path / "evaluated.json").read_text()) == {"checkpoint": "last.ckpt"}


@pytest.mark.parametrize("lost", [0, 20])
def test_further_tables_belong_to_the_case(tmp_path, lost):
    tables = {"distances": [{"method": "net", "truth_mm": 1.0}, {"method": "net", "truth_mm": 2.0}]}
    callback, _ = begun(tmp_path)
    score(callback, tmp_path, result("a", tables=tables))
    if lost:  # the case was not finished: its other table is written, the main one is not
        (tmp_path / "store" / "results.jsonl").write_bytes(b"")
    callback, done = begun(tmp_path)
    assert done == (frozenset() if lost else {"a"})
    score(callback, tmp_path, *([result("a", tables=tables)] if lost else []))
    begun(tmp_path)
    assert [row["truth_mm"] for row in read_rows(tmp_path / "distances.csv")] == ["1.0", "2.0"]
    assert list(read_rows(tmp_path / "distances.csv")[0]) == ["case", "method", "truth_mm"]


def test_a_case_counts_with_all_of_its_tables_or_not_at_all(tmp_path):
    callback, _ = begun(tmp_path)
    tables = {"distances": [{"distance": 1.0}]}
    score(callback, tmp_path, result("a", tables=tables), result("b", tables=tables))
    store = tmp_path / "store" / "distances.jsonl"
    store.write_bytes(store.read_bytes().splitlines(keepends=True)[0])  # the disk lost the second line
    callback, done = begun(tmp_path)
    assert done == {"a"}
    assert set(values(tmp_path)) == {"a"}
    store.unlink()
    assert begun(tmp_path)[1] == frozenset()
