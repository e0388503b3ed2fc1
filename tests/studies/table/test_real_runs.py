"""Tables of real trainings: all of them at smoke, and one that is killed again and again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
from small_run import ROOT, TINY, environment, tiny_acdc

from medreg.studies.table.places import all_tables, find
from medreg.studies.table.reading import read_table

TABLE = """\
title: Killed
common: [{common}, report=false]
rows:
  net: {{overrides: [optimiser.lr=1e-3]}}
  other: {{overrides: [optimiser.lr=1e-4]}}
  again: {{of: net}}
columns: {{dice: , parameters: }}
seeds: [1, 2]
reference: net
match: {match}
probe_steps: [2, 30]
scales: {{smoke: {{}}}}
"""


def start(folder, *words, **more):
    command = [sys.executable, "-m", "medreg.cli.main", "table", *words]
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment(PYTHONPATH=str(ROOT), **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def table_of(folder, data, match="none"):
    file = folder / "experiments" / "paper" / "tables" / "killed.yaml"
    file.parent.mkdir(parents=True)
    common = ", ".join(f'"{word}"' for word in (*TINY, f"data.dataset.root={data}"))
    file.write_text(TABLE.format(common=common, match=match))
    return ("paper/killed", "--scale", "smoke", "--experiments", "experiments")


def numbers(folder):
    frame = pd.read_csv(folder / "outputs/tables/paper/killed/smoke/table.csv")
    return frame.drop(columns=["state"])


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("paper", sorted({place.paper for place in all_tables()}))
def test_every_table_of_a_paper_at_smoke(paper, tmp_path):
    process = start(tmp_path, paper, "--scale", "smoke", "--check")
    output, _ = process.communicate()
    assert process.returncode == 0, output[-4000:]
    for place in find([paper]):
        folder = tmp_path / "outputs" / "tables" / place.paper / place.name / "smoke"
        assert "Hole" not in (folder / "table.md").read_text(), place
        cells = pd.read_csv(folder / "table.csv").set_index(["column", "row"])["mean"].notna()
        some = cells.groupby("column").transform("any")
        holes = set(cells.index[some & ~cells])  # data that stand in may lack a metric, for every row
        assert not holes & measured(place), place
        assert some.groupby("column").first().mean() >= 0.5, place


def measured(place):
    """(column, row) with a value in the committed rows: not every method has every metric."""
    table, _ = read_table(place.file)
    files = sorted(place.folder.glob(f"results/{place.name}.*.csv"))
    rows = [
        (row, metric)
        for file in files
        for row, metric in pd.read_csv(file)[["row", "metric"]].drop_duplicates().values
    ]
    return {
        (name, row) for row, metric in rows for name, spec in table.columns.items() if spec.metric == metric
    }


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_killed_at_ten_moments_it_ends_like_an_undisturbed_table(tmp_path):
    data = tiny_acdc(tmp_path / "acdc")
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    words = table_of(calm, data)
    assert table_of(killed, data) == words
    began = time.monotonic()
    process = start(calm, *words)
    output, _ = process.communicate()
    assert process.returncode == 0, output[-4000:]
    whole = time.monotonic() - began
    finished: dict[str, str] = {}
    for moment in range(10):
        process = start(killed, *words)
        time.sleep(whole * (0.25 + 0.05 * moment))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for file in killed.glob("outputs/*/run.json"):
            record = json.loads(file.read_text())
            if record["status"] == "finished":
                assert finished.setdefault(file.parent.name, record["finished"]) == record["finished"]
    process = start(killed, *words)
    output, _ = process.communicate()
    assert process.returncode == 0, output[-4000:]
    for name, when in finished.items():
        assert json.loads((killed / "outputs" / name / "run.json").read_text())["finished"] == when
    pd.testing.assert_frame_equal(numbers(calm), numbers(killed))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_rows_matched_by_cpu_time_and_a_launcher(tmp_path):
    data = tiny_acdc(tmp_path / "acdc")
    words = table_of(tmp_path, data, match="cpu_time")
    process = start(tmp_path, *words, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    output, _ = process.communicate()
    assert process.returncode == 0, output[-4000:]
    lines = (tmp_path / "outputs/tables/paper/killed/smoke/units.jsonl").read_text().splitlines()
    units = {tuple(json.loads(line)["key"].values()): json.loads(line) for line in lines}
    assert units["other", "probe"]["rows"][0]["value"] > 0
    assert "trainer.max_steps=" in units["other", 1]["cost"]["command"]
    assert "trainer.max_steps=" not in units["net", 1]["cost"]["command"]
