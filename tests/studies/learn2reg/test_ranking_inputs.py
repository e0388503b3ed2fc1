"""What `medreg rank` reads: metric files of all schemas, folders, runtimes, run folders; and its command line."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from ranking_tables import CASES, metrics_file

from medreg.cli.main import main
from medreg.errors import DataError
from medreg.reporting.results import RESULT_COLUMNS
from medreg.studies.learn2reg.published import published_file, published_means, read_published
from medreg.studies.learn2reg.ranking_inputs import collect


def results(shift=0.0, *, seed=0, cases=8, regularity=0.1):
    generator = np.random.default_rng(seed)
    return {
        "DSC": shift + 0.3 * generator.random((cases, 5)),
        "HD95": 4 - 2 * shift + generator.random((cases, 5)),
        "LogJacDetStd": regularity + 0.01 * generator.random(cases),
    }


@pytest.fixture
def three(tmp_path):
    """Results of three methods, the zero field among them."""
    metrics_file(tmp_path / "results" / "Initial", results(0.2, regularity=0.0))
    metrics_file(tmp_path / "results" / "ours", results(0.6, seed=1), runtime=[0.5] * 8)
    metrics_file(tmp_path / "results" / "theirs", results(0.5, seed=2, regularity=0.05), runtime=[9.0] * 8)
    return tmp_path / "results"


def run_folder(folder, method, dice, *, status="finished"):
    """A run folder of `python train.py` on a Learn2Reg task."""
    folder.mkdir()
    rows = []
    for name, shift in (("unregistered", -0.3), (method, 0.0)):
        for i, value in enumerate(dice):
            for structure, offset in (("head", 0.02), ("tail", -0.02), ("mean", 0.0)):
                rows.append(
                    (folder.name, method, "hippocampus", "test", f"c{i}", name, structure, "dice",
                     value + shift + offset, "1")
                )  # fmt: skip
            spread = 0.0 if name == "unregistered" else 0.2
            rows.append((folder.name, method, "hippocampus", "test", f"c{i}", name, "all",
                         "sd_log_jacobian", spread, "1"))  # fmt: skip
            rows.append((folder.name, method, "hippocampus", "test", f"c{i}", name, "all", "time_s",
                         0.1 + 0.001 * i, "s"))  # fmt: skip
    pd.DataFrame(rows, columns=list(RESULT_COLUMNS)).to_csv(folder / "results.csv", index=False)
    (folder / "run.json").write_text(json.dumps({"status": status}))
    (folder / "config.yaml").write_text("data:\n  dataset:\n    task: HippocampusMR\n")
    return folder


# -- reading ------------------------------------------------------------------------------------------


def test_a_folder_of_methods_with_runtimes(three):
    found = collect([three]).table
    assert list(pd.unique(found["method"])) == ["Initial", "ours", "theirs"]
    times = found[found["metric"] == "runtime"].groupby("method")["value"].mean()
    assert times.to_dict() == {"ours": 0.5, "theirs": 9.0}


def test_runtimes_find_their_case_in_any_spelling(tmp_path):
    folder = metrics_file(tmp_path / "a", results(cases=2))
    (folder / "runtime.csv").write_text("case,seconds\ndisp_0395_0396,1.5\n0396_0000_0397_0000,2.5\n")
    found = collect([folder]).table
    times = found[found["metric"] == "runtime"].set_index("case")["value"].to_dict()
    assert times == {CASES[0]: 1.5, CASES[1]: 2.5}


def test_files_of_schema_1_join_those_of_today(tmp_path):
    metrics_file(tmp_path / "new", results(cases=3))
    old = {"OASIS": {"case": {"DSC": {"0": 0.5, "1": 0.6, "2": 0.7}}, "aggregates": {}}}
    (tmp_path / "old.json").write_text(json.dumps(old))
    found = collect([tmp_path / "new", tmp_path / "old.json"])
    assert set(found.table.loc[found.table["method"] == "old", "case"]) == set(CASES[:3])
    assert "numbered" in found.notes[0]


def test_example_files_of_the_organisers(shared_descriptors, capsys):
    files = sorted((shared_descriptors / "example_metrics").glob("*.json"))
    assert main(["rank", *map(str, files), "--bootstrap", "0"]) == 0
    printed = capsys.readouterr().out
    assert "0.471" in printed  # Dice of the example network on AbdomenCTCT
    assert "12.50" in printed
    assert "overall" in printed


def test_names_are_given_and_twins_refused(three):
    found = collect([f"one={three / 'ours'}", f"two={three / 'ours' / 'metrics.json'}"]).table
    assert list(pd.unique(found["method"])) == ["one", "two"]
    with pytest.raises(
        DataError, match=r"Two files are both called ours for OASIS; name them apart: NAME=PATH"
    ):
        collect([three / "ours", three / "ours" / "metrics.json"])


def test_run_folders_of_a_sweep_are_ranked(tmp_path, capsys):
    runs = [
        run_folder(tmp_path / f"run_{name}", "voxelmorph", value + 0.01 * np.random.default_rng(k).random(12))
        for k, (name, value) in enumerate((("weak", 0.6), ("strong", 0.7)))
    ]
    assert main(["rank", *map(str, runs), "--bootstrap", "20", "-o", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "HippocampusMR" in printed
    table = pd.read_csv(tmp_path / "out" / "ranking.csv")
    scores = table[table["factor"] == "score"].set_index("method")["place"]
    assert scores.to_dict() == {
        "voxelmorph [run_strong]": 1,
        "voxelmorph [run_weak]": 2,
        "unregistered": 3,
    }
    assert set(table["factor"]) == {"score", "DSC", "DSC30", "LogJacDetStd", "runtime"}


def test_jobs_of_a_sweep_are_called_after_what_differs(tmp_path):
    runs = [run_folder(tmp_path / name, "net", np.full(8, 0.5)) for name in ("a", "b")]
    for run, weight in zip(runs, (0.1, 1), strict=True):
        overrides = ["data=hippocampus", f"regularisation.weight={weight}"]
        (run / "run.json").write_text(json.dumps({"status": "finished", "overrides": overrides}))
    found = pd.unique(collect(runs).table["method"])
    assert set(found) == {"unregistered", "net [regularisation.weight=0.1]", "net [regularisation.weight=1]"}
    found = pd.unique(collect([f"first={runs[0]}", runs[1]]).table["method"])
    assert set(found) == {"unregistered", "first", "net [regularisation.weight=1]"}


def test_runs_and_metric_files_are_not_mixed(tmp_path, three, capsys):
    run = run_folder(tmp_path / "run", "net", np.full(8, 0.5))
    assert main(["rank", f"x={three / 'ours'}", str(run), "--bootstrap", "0"]) == 0  # two tasks, two tables
    assert "HippocampusMR" in capsys.readouterr().out
    file = metrics_file(tmp_path / "y", results(), task="HippocampusMR")
    assert main(["rank", str(file), str(run)]) == 1
    assert "HippocampusMR: metric files and run folders do not measure the same" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [({"a": 1}, "no metric file"), ({"cases": {}, "aggregates": {}, "name": "OASIS"}, "nothing to rank")],
)
def test_unsuitable_files(tmp_path, capsys, content, message):
    (tmp_path / "x.json").write_text(json.dumps(content))
    assert main(["rank", str(tmp_path / "x.json")]) == 1
    assert message in capsys.readouterr().err


def test_missing_paths(tmp_path, capsys):
    assert main(["rank", str(tmp_path / "none")]) == 1
    assert "does not exist; give metric files" in capsys.readouterr().err
    assert main(["rank", str(tmp_path)]) == 1
    assert "holds no metrics.json" in capsys.readouterr().err


def test_common_cases_only(tmp_path, capsys):
    metrics_file(tmp_path / "r" / "a", results(0.6, cases=6))
    metrics_file(tmp_path / "r" / "b", results(0.5, cases=5))
    assert main(["rank", str(tmp_path / "r"), "--bootstrap", "0"]) == 1
    assert "b lacks 0400_0000<--0401_0000" in capsys.readouterr().err
    assert main(["rank", str(tmp_path / "r"), "--bootstrap", "0", "--common"]) == 0
    assert "5 cases" in capsys.readouterr().out


def test_a_config_says_which_cases_and_metrics(tmp_path, three, capsys):
    config = {
        "task_name": "OASIS",
        "evaluation_methods": [{"name": "DSC", "metric": "dice", "labels": [1, 2, 3, 4, 5]}],
        "expected_shape": [8, 8, 8, 3],
        "eval_pairs": [
            {"fixed": f"imagesTr/OASIS_{395 + i:04d}_0000.nii.gz",
             "moving": f"imagesTr/OASIS_{396 + i:04d}_0000.nii.gz"} for i in range(4)
        ],
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    arguments = ["rank", str(three), "--bootstrap", "0", "--config", str(tmp_path / "config.json")]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "4 cases" in printed
    assert "HD95 (" not in printed


# -- what is written ----------------------------------------------------------------------------------


def test_all_files_are_written(three, tmp_path, capsys):
    out = tmp_path / "ranking"
    assert main(["rank", str(three), "-o", str(out), "--bootstrap", "30", "--published", "OASIS"]) == 0
    assert {file.name for file in out.iterdir()} == {
        f"ranking.{end}" for end in ("csv", "md", "tex", "png", "svg")
    }
    markdown = (out / "ranking.md").read_text()
    assert "| ours | 1 (" in markdown
    assert "| LapIRN (published, test) |  | (0.804) | 0.822 | 0.664 | 1.67 | 0.071 | 1.21 |" in markdown
    assert "comparable within that table only" in markdown
    assert r"\begin{tabular}" in (out / "ranking.tex").read_text()
    table = pd.read_csv(out / "ranking.csv")
    ours = table[(table["method"] == "ours") & (table["factor"] == "runtime")].iloc[0]
    assert (ours["mean"], ours["score"], ours["losses"]) == (0.5, 1.0, 0)
    printed = capsys.readouterr().out
    assert "unpaired rank-sum test" in " ".join(printed.split())


def test_initial_file_is_not_ranked(three, capsys):
    initial = str(three / "Initial" / "metrics.json")
    arguments = ["rank", str(three / "ours"), str(three / "theirs"), "--initial", initial, "--bootstrap", "0"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "Initial" not in printed
    assert "no unregistered state" not in printed


@pytest.mark.parametrize("scheme", ["described", "simple"])
def test_other_schemes(three, capsys, scheme):
    assert main(["rank", str(three), "--scheme", scheme, "--bootstrap", "5", "--no-runtime"]) == 0
    told = {"described": "paired one-sided signed-rank test", "simple": "without significance"}
    assert told[scheme] in " ".join(capsys.readouterr().out.split())


# -- published numbers --------------------------------------------------------------------------------


def test_published_numbers_agree_with_the_tables(shared_descriptors):
    """Every cell of the stored ranking tables stands in expected.csv."""
    columns = {
        "DSC": "DSC",
        "HD95": "HD95",
        "SDlogJ": "LogJacDetStd",
        "TRE_mm": "TRE_lm",
        "NDV_percent": "NDV",
    }
    for file in sorted((shared_descriptors / "ranking_tables").glob("*.csv")):
        table = pd.read_csv(file)
        task = "LUMIR" if file.name.startswith("LUMIR") else file.name.split("_")[0]
        means = published_means(task, split="test")
        for _, row in table.iterrows():
            for theirs, ours in columns.items():
                if theirs in row.index and not pd.isna(row[theirs]):
                    assert means.loc[f"{row['team']} (published, test)", ours] == row[theirs]


def test_published_rows_have_a_source_and_a_standing():
    table = pd.read_csv(published_file())
    assert set(table["standing"]) == {"confirmed", "partly", "unconfirmed"}
    assert table["source"].notna().all()
    assert table.loc[table["standing"] == "confirmed", "value"].notna().all()
    assert not table.duplicated(["dataset", "split", "method", "metric"]).any()
    assert read_published("OASIS", split="val")["value"].max() == pytest.approx(1.4594)


def test_unknown_published_task(three, capsys):
    assert main(["rank", str(three), "--published", "Brain", "--bootstrap", "0"]) == 1
    assert "for Brain; there are some for AbdomenCTCT" in capsys.readouterr().err
