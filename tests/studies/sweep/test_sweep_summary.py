"""What a sweep found, from run folders written by hand: means over seeds, the best, the pictures' numbers."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from medreg.errors import DataError
from medreg.studies.sweep.figures import importances, pareto_front
from medreg.studies.sweep.summary import as_table, best_command, by_setting
from medreg.studies.sweep.trials import read_sweep


def run_folder(outputs, name, overrides, *, dice=None, folds=0.0, status="finished", error=None):
    folder = outputs / name
    folder.mkdir(parents=True)
    record = {
        "status": status,
        "overrides": overrides,
        "cpu_seconds": {"fit": 2.0, "test": 1.0},
        "error": error,
    }
    (folder / "run.json").write_text(json.dumps(record))
    if dice is not None:
        rows = [
            ("unregistered", "mean", "dice", 0.1), ("net", "mean", "dice", dice - 0.1), ("net", "LV", "dice", 0.0),
            ("net", "mean", "dice", dice + 0.1), ("net", "all", "folding_percent", folds),
        ]  # fmt: skip
        pd.DataFrame(rows, columns=["method", "structure", "metric", "value"]).to_csv(
            folder / "results.csv", index=False
        )
    return {"overrides": overrides, "folder": str(folder)}


@pytest.fixture
def sweep(tmp_path):
    values = {("a", 1): 0.80, ("a", 2): 0.84, ("b", 1): 0.90, ("b", 2): 0.92}
    jobs = [
        run_folder(
            tmp_path,
            f"{m}{s}",
            ["data=toy", f"model={m}", f"seed={s}"],
            dice=v,
            folds=1.0 if m == "b" else 0.1,
        )
        for (m, s), v in values.items()
    ]
    jobs.append(
        run_folder(tmp_path, "c1", ["data=toy", "model=c", "seed=1"], status="failed", error="It broke.")
    )
    folder = tmp_path / "sweep_x"
    folder.mkdir()
    memory = {"kind": "grid", "jobs": jobs, "objectives": ["dice", "folding_percent"]}
    (folder / "sweep.json").write_text(json.dumps(memory))
    return read_sweep(folder)


def test_mean_and_spread_over_seeds_best_first(sweep):
    settings = by_setting(sweep)
    assert list(settings["model"]) == ["b", "a"]
    assert settings["dice"].tolist() == pytest.approx([0.91, 0.82])
    assert settings["dice_sd"].tolist() == pytest.approx(
        [np.std([0.9, 0.92], ddof=1), np.std([0.8, 0.84], ddof=1)]
    )
    assert settings["seeds"].tolist() == [2, 2]


def test_failed_runs_are_counted_not_averaged(sweep):
    table = as_table(sweep, by_setting(sweep), metrics=3)
    assert "1 of 5 runs did not finish." in table.notes
    assert table.rows[0][2].text == "0.910 ± 0.014"
    assert table.rows[0][2].bold
    assert table.rows[1][3].bold  # fewer folds


def test_command_of_the_best(sweep):
    assert best_command(sweep, by_setting(sweep)) == "python train.py -m data=toy model=b seed=1,2"


def test_no_finished_run_has_no_best(tmp_path):
    run_folder(tmp_path, "a", ["model=a"], status="failed")
    found = read_sweep(tmp_path)
    assert best_command(found, by_setting(found)) is None


def test_a_folder_of_runs_is_read_as_a_sweep(sweep):
    again = read_sweep(sweep.folder.parent)
    assert again.options == ("model",)
    assert len(again.trials) == 5


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="run folders"):
        read_sweep(tmp_path)


def test_option_that_decides_is_the_important_one(tmp_path):
    for number in range(16):
        weight, width = number % 4, number // 4
        run_folder(tmp_path, str(number), [f"w={weight}", f"d={width}"], dice=0.1 * weight + 0.001 * width)
    shares = importances(read_sweep(tmp_path))
    assert shares["w"] == pytest.approx(1, abs=0.01)
    assert shares["d"] == pytest.approx(0, abs=0.01)


def test_pareto_front_of_known_points():
    points = np.array([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0], [1.5, 1.5], [2.0, 2.0], [np.nan, 9.0]])
    assert pareto_front(points).tolist() == [True, True, True, False, True, False]
