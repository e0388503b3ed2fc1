"""The main job from the command line: it ends well, resumes after kill -9, repeats nothing, explains mistakes."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import time

import pytest
import torch
from small_run import arguments, run, run_folder, run_process, start, tiny_acdc


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny_acdc(tmp_path_factory.mktemp("acdc"))


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """A run that was left in peace."""
    folder = tmp_path_factory.mktemp("finished")
    code, output = run_process(folder, arguments(data))
    assert code == 0, output
    return folder, output


def weights(folder):
    content = torch.load(run_folder(folder) / "checkpoints" / "last.ckpt", weights_only=True)
    return content["state_dict"]


def assert_same_weights(first, second):
    one, other = weights(first), weights(second)
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert torch.equal(value, other[key]), key


def rows(folder):
    with (run_folder(folder) / "results.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_run_folder_explains_itself(finished):
    folder = run_folder(finished[0])
    for name in (
        "config.yaml",
        "run.json",
        "results.csv",
        "history.csv",
        "split.csv",
        "report.html",
        "train.log",
    ):
        assert (folder / name).stat().st_size > 0, name
    record = json.loads((folder / "run.json").read_text())
    assert record["status"] == "finished"
    assert {
        "command",
        "overrides",
        "commit",
        "dirty",
        "versions",
        "hardware",
        "seed",
        "data_fingerprint",
    } <= set(record)
    assert record["cpu_seconds"]["fit"] > 0
    assert record["cpu_seconds"]["test"] > 0
    assert list((folder / "figures").glob("*.png"))


def test_table_is_tidy_and_has_the_unregistered_state_beside(finished):
    table = rows(finished[0])
    assert {row["method"] for row in table} == {"unregistered", "voxelmorph"}
    assert {"dice", "hd95_mm", "folding_percent", "time_s"} <= {row["metric"] for row in table}
    assert len({row["case"] for row in table}) == 2


def test_checkpoint_carries_where_it_comes_from(finished):
    content = torch.load(run_folder(finished[0]) / "checkpoints" / "best.ckpt", weights_only=True)
    assert {"config", "overrides", "commit", "data_fingerprint"} <= set(content["medreg"])
    assert content["medreg"]["config"]["model"]["_target_"].startswith("medreg.")


def test_the_same_command_shows_the_result_without_running(finished, data):
    stamp = (run_folder(finished[0]) / "results.csv").stat().st_mtime_ns
    code, output = run(finished[0], arguments(data))
    assert code == 0
    assert "Already finished" in output
    assert (run_folder(finished[0]) / "results.csv").stat().st_mtime_ns == stamp


def test_a_run_killed_while_drawing_gets_its_report_by_the_same_command(finished, data, tmp_path):
    shutil.copytree(finished[0], tmp_path / "copy")
    folder = run_folder(tmp_path / "copy")
    (folder / "report.html").unlink()
    record = json.loads((folder / "run.json").read_text())
    assert record["reported"] is True
    (folder / "run.json").write_text(json.dumps({**record, "reported": False}))
    code, output = run(tmp_path / "copy", arguments(data))
    assert code == 0, output
    assert "Already finished" in output
    assert (folder / "report.html").stat().st_size > 0
    assert json.loads((folder / "run.json").read_text())["reported"] is True


def test_same_seed_same_bits(finished, data, tmp_path):
    code, output = run(tmp_path, arguments(data))
    assert code == 0, output
    assert_same_weights(finished[0], tmp_path)


@pytest.mark.parametrize("wanted", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_killed_run_continues_to_the_same_weights(finished, data, tmp_path, wanted):
    """kill -9 after so many checkpoints, at whatever instant that finds the process in."""
    process = start(tmp_path, arguments(data))
    deadline, seen = time.monotonic() + 120, set()
    while len(seen) < wanted and process.poll() is None and time.monotonic() < deadline:
        seen.update(p.stat().st_mtime_ns for p in tmp_path.glob("outputs/*/checkpoints/last.ckpt"))
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert seen, "no checkpoint was written before the deadline"
    code, output = run_process(tmp_path, arguments(data))
    assert code == 0, output
    assert_same_weights(finished[0], tmp_path)
    history = (run_folder(tmp_path) / "history.csv").read_text()
    assert history == (run_folder(finished[0]) / "history.csv").read_text()
    assert len(rows(tmp_path)) == len(rows(finished[0]))


def test_truncated_checkpoint_is_explained(finished, data, tmp_path):
    broken = tmp_path / "broken.ckpt"
    broken.write_bytes((run_folder(finished[0]) / "checkpoints" / "last.ckpt").read_bytes()[:2000])
    code, output = run(tmp_path, arguments(data, f"ckpt={broken}", "mode=test"))
    assert code == 1
    assert "Cannot read the checkpoint" in output
    assert "Traceback" not in output


def test_evaluating_another_runs_checkpoint(finished, data, tmp_path):
    source = run_folder(finished[0])
    code, output = run(tmp_path, arguments(data, f"ckpt={source}", "mode=test"))
    assert code == 0, output
    ours = {
        (r["case"], r["structure"], r["metric"]): r["value"] for r in rows(tmp_path) if r["metric"] == "dice"
    }
    theirs = {
        (r["case"], r["structure"], r["metric"]): r["value"]
        for r in rows(finished[0])
        if r["metric"] == "dice"
    }
    assert ours == theirs


@pytest.mark.slow
def test_warm_start_takes_weights_only(finished, data, tmp_path):
    source = run_folder(finished[0])
    code, output = run(tmp_path, arguments(data, f"init={source}", "trainer.max_epochs=1"))
    assert code == 0, output
    assert "Warm start" in output
    content = torch.load(run_folder(tmp_path) / "checkpoints" / "last.ckpt", weights_only=True)
    assert content["epoch"] == 0


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["modle=voxelmorph"], "'model'"),
        (["mode=tset"], "choose one of fit, test, both"),
        (["data.dataset.root=/nowhere"], "/nowhere"),
        (["ckpt=/nowhere.ckpt", "mode=test"], "No checkpoint at"),
        (["mode=test"], "Train first"),
        (["optimiser.lr=abc"], "optimiser.lr=abc: it must be a number"),
        (["trainer.accelerator=gpu"], "options of trainer"),
        (["data.loader.batch_size=0"], "data.loader.batch_size"),
    ],
)
def test_mistakes_end_in_a_sentence(data, tmp_path, options, expected):
    code, output = run(tmp_path, arguments(data, *options))
    assert code == 1
    assert expected in output
    assert "Traceback" not in output


def test_nan_names_the_cases_and_the_remedy(data, tmp_path):
    code, output = run(tmp_path, arguments(data, "optimiser.lr=1e9"))
    assert code == 1
    assert "Lower optimiser.lr" in output
    assert "Traceback" not in output
    assert json.loads((run_folder(tmp_path) / "run.json").read_text())["status"] == "failed"


@pytest.mark.slow
def test_interrupted_evaluation_scores_only_what_is_left(finished, data, tmp_path):
    source = run_folder(finished[0])
    options = arguments(data, f"ckpt={source}", "mode=test")
    assert run(tmp_path, options)[0] == 0
    folder = run_folder(tmp_path)
    complete = rows(tmp_path)
    stored = (folder / "store" / "results.jsonl").read_text().splitlines(keepends=True)
    assert len(stored) == 2
    (folder / "store" / "results.jsonl").write_text(
        stored[0] + stored[1][:200]
    )  # killed in the middle of a case
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**record, "status": "running"}))
    code, output = run(tmp_path, options)
    assert code == 0, output
    assert "1 cases are scored already" in output
    own = {(r["case"], r["method"], r["structure"], r["metric"]): r["value"] for r in rows(tmp_path)}
    whole = {(r["case"], r["method"], r["structure"], r["metric"]): r["value"] for r in complete}
    timed = {"time_s", "peak_memory_mib"}
    assert {k: v for k, v in own.items() if k[3] not in timed} == {
        k: v for k, v in whole.items() if k[3] not in timed
    }


def test_resuming_needs_more_than_weights(finished, data, tmp_path):
    best = run_folder(finished[0]) / "checkpoints" / "best.ckpt"
    code, output = run(tmp_path, arguments(data, f"resume={best}"))
    assert code == 1
    assert "weights only" in output
    code, output = run(tmp_path, arguments(data, f"resume={run_folder(finished[0])}", "trainer.max_epochs=4"))
    assert code == 0, output
    assert "Continuing from" in output
