"""Numbers of all cases together, such as a distance of populations, stand in tables beside those of single cases."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from medreg.reporting.statistics import t_interval, welch
from medreg.studies.table.claims import answer
from medreg.studies.table.estimates import compare_rows
from medreg.studies.table.places import find
from medreg.studies.table.plan import make_plan
from medreg.studies.table.run_folder import read_outcome
from medreg.studies.table.table_file import ClaimSpec, TableFile

TABLE = """\
title: Two methods
rows:
  old: {work: &tiny {_target_: tiny_work.TinyWork}, overrides: [mean=0.80, w1=6.0]}
  new: {work: *tiny, overrides: [mean=0.85, w1=3.0]}
  none: {work: *tiny, overrides: [mean=0.85]}
columns:
  dice:
  w1: {structure: lvedv_ml, label: W1 of LVEDV}
seeds: [1, 2, 3]
reference: old
scales: {smoke: {seeds: [1, 2, 3]}, laptop: {seeds: [1]}}
claims: [new.w1 < old.w1, new.w1 < 0.25, new.dice > old.dice]
"""


def results_of(experiments, scale):
    from medreg.studies.table.estimates import gather

    return gather(make_plan(find(["paper/two"], experiments.root / "experiments")[0], scale))


def cells(text, first):
    """Cells of the printed line that begins with some words."""
    line = next(line for line in text.splitlines() if line.replace("*", "").startswith(f"| {first}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_mean_over_seeds_is_shown_and_only_seeds_are_tested(experiments):
    experiments.write(TABLE)
    assert experiments.run() == 0
    results = results_of(experiments, "smoke")
    values = results.values("new", "w1")
    assert (list(values.index), values.shape) == (["population"], (1, 3))
    test = next(test for test in compare_rows(results) if (test.row, test.column) == ("new", "w1"))
    assert test.difference.mean == pytest.approx(-3, abs=0.05)
    assert math.isnan(test.difference.low)
    assert math.isnan(test.p_cases)
    both = [results.values(row, "w1").mean(axis=0).to_numpy() for row in ("new", "old")]
    assert test.raw_seeds == pytest.approx(welch(*both))
    printed = experiments.out()
    line = cells(printed[printed.index("Against") :], "new | W1 of LVEDV")
    assert line[3:6] == ["–", "–", "–"]  # interval, cases, p over cases
    assert "p" in line[6]
    assert "tested over seeds alone" in printed
    assert cells(printed, "none")[2] == "–"


def test_one_seed_has_no_test_at_all(experiments):
    experiments.write(TABLE)
    assert experiments.run(scale="laptop") == 0
    printed = experiments.out(scale="laptop")
    line = cells(printed[printed.index("Against") :], "new | W1 of LVEDV")
    assert line[3:] == ["–", "–", "–", "–"]
    assert "12 cases, 1 seeds" in printed
    assert "undecided" in cells(printed[printed.index("Claims") :], "new.w1 < old.w1")[1]


def test_claims_rest_on_the_seeds(experiments):
    experiments.write(TABLE)
    assert experiments.run() == 0
    printed = experiments.out()
    claims = printed[printed.index("Claims") :]
    assert "confirmed" in cells(claims, "new.w1 < old.w1")[1]
    assert "all cases together, 3 of 3 seeds agree" in cells(claims, "new.w1 < old.w1")[4]
    assert "not confirmed" in cells(claims, "new.w1 < 0.25")[1]


def table():
    return TableFile.model_validate(
        {"title": "t", "rows": {"old": {}, "new": {}}, "columns": {"w1": None}, "scales": {"smoke": {}}}
    )


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [((1.0, 1.1, 1.2), "confirmed"), ((1.0, 3.0, 8.0), "undecided"), ((9.0, 9.1, 9.2), "not confirmed"),
     ((1.0, 1.1), "undecided")],
)  # fmt: skip
def test_the_interval_of_a_claim_is_that_over_seeds(seeds, expected):
    values = {("new", "w1"): pd.DataFrame([dict(enumerate(seeds))], index=["population"])}
    found = answer(ClaimSpec(claim="new.w1 < 5"), values, table())
    assert found.answer == expected
    if len(seeds) > 2:
        assert found.difference.low == pytest.approx(t_interval(np.array(seeds) - 5).low)


def test_the_rows_of_a_run_have_them_whichever_method_is_meant(tmp_path):
    head = "run,model,data,split,case,method,structure,metric,value,unit"
    lines = [
        *(f"r,m,d,test,{case},{method},mean,dice,{value},1" for case in "ab"
          for method, value in (("net", 0.9), ("net generated", 0.5))),
        "r,m,d,test,population,net,lvedv_ml,w1,3.5,ml",
        "r,m,d,test,population,net,lvm_g,w1,2.5,g",
        "r,m,d,test,a,net,lvedv_ml,measure_error,3,ml",
        "r,m,d,test,a,net,lvm_g,measure_error,5,g",
    ]  # fmt: skip
    (tmp_path / "results.csv").write_text("\n".join([head, *lines]) + "\n")
    (tmp_path / "run.json").write_text('{"status": "finished", "done": {"test": "best"}}')
    for method, dice in (("", 0.9), ("net generated", 0.5), ("net", 0.9)):
        rows = read_outcome(tmp_path, method).rows
        assert {row["value"] for row in rows if row["metric"] == "dice"} == {dice}
        w1 = {row["structure"]: row["value"] for row in rows if row["metric"] == "w1"}
        assert w1 == {"lvedv_ml": 3.5, "lvm_g": 2.5}  # and no mean of mL and g
    errors = {
        row["structure"] for row in read_outcome(tmp_path, "net").rows if row["metric"] == "measure_error"
    }
    assert errors == {"lvedv_ml", "lvm_g"}


def test_what_a_run_is_about_is_the_method_of_all_cases_together(tmp_path):
    from medreg.stages import objective

    head = "run,model,data,split,case,method,structure,metric,value,unit"
    rows = ["r,m,d,test,a,net,mean,dice,0.9,1", "r,m,d,test,a,net generated,mean,dice,0.5,1"]
    for lines, expected in ((rows, 0.5), ([*rows, "r,m,d,test,population,net,mean,w1_sd,0.2,1"], 0.9)):
        (tmp_path / "results.csv").write_text("\n".join([head, *lines]) + "\n")
        assert objective(tmp_path, "dice") == expected
    assert objective(tmp_path, "w1_sd") == 0.2


def test_a_model_that_only_makes_new_hearts_has_them_alone(tmp_path):
    head = "run,model,data,split,case,method,structure,metric,value,unit"
    rows = ["r,m,d,test,a,net generated,mean,dice,0.5,1", "r,m,d,test,population,net,mean,w1_sd,0.2,1"]
    (tmp_path / "results.csv").write_text("\n".join([head, *rows]) + "\n")
    (tmp_path / "run.json").write_text('{"status": "finished", "done": {"test": "best"}}')
    found = read_outcome(tmp_path)
    assert [(row["case"], row["metric"], row["value"]) for row in found.rows] == [
        ("population", "w1_sd", 0.2)
    ]
    assert read_outcome(tmp_path, "other").failed
