"""Two equal commands, killed ones, changed data: a run folder holds one training and nothing is lost."""

from __future__ import annotations

import csv
import json
import random
import subprocess
import sys
import time

import pytest
from small_pairs import SPLITS, command, listed, other_label, small_pairs
from small_run import environment, run, run_folder, run_process, start

pytestmark = pytest.mark.slow


def rows(folder, name="results.csv"):
    with (run_folder(folder) / name).open() as stream:
        return list(csv.DictReader(stream))


def once(table, keys):
    found = [tuple(row[key] for key in keys) for row in table]
    assert len(found) == len(set(found))
    return set(found)


CASE = ("case", "method", "structure", "metric")


def test_two_equal_commands_are_one_run(tmp_path):
    table = small_pairs(tmp_path / "data")
    words = command(table, "trainer.max_epochs=3", "trainer.check_val_every_n_epoch=1")
    code, _ = run_process(tmp_path / "alone", words)
    assert code == 0
    processes = [start(tmp_path, words) for _ in range(2)]
    outputs = [process.communicate(timeout=200)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert sum("Already finished" in text for text in outputs) == 1
    assert sum("Another command works in" in text for text in outputs) <= 1
    keys = once(rows(tmp_path), CASE)
    assert keys == once(rows(tmp_path / "alone"), CASE)
    once(rows(tmp_path, "history.csv"), ("epoch", "name"))
    one, other = (
        json.loads((run_folder(f) / "run.json").read_text()) for f in (tmp_path, tmp_path / "alone")
    )
    assert one["objective"] == other["objective"]


def test_killed_pairs_of_commands_lose_nothing(tmp_path):
    table = small_pairs(tmp_path / "data")
    words = command(table, "trainer.max_epochs=4", "trainer.check_val_every_n_epoch=1")
    draw = random.Random(0)
    for _ in range(3):
        processes = [start(tmp_path, words) for _ in range(2)]
        time.sleep(draw.uniform(4, 9))
        for process in processes:
            process.kill()
            process.communicate()
    code, output = run_process(tmp_path, words)
    assert code == 0, output
    assert len(once(rows(tmp_path), CASE)) == len(rows(tmp_path))
    assert {row["case"] for row in rows(tmp_path)} == {"p3", "p4"}
    assert {row["epoch"] for row in rows(tmp_path, "history.csv")} == {"0", "1", "2", "3"}
    once(rows(tmp_path, "history.csv"), ("epoch", "name"))


def test_changed_labels_are_scored_anew_and_changed_training_is_refused(tmp_path):
    table = small_pairs(tmp_path / "data")
    code, output = run(tmp_path, command(table))
    assert code == 0, output
    before = {tuple(row[key] for key in CASE): row["value"] for row in rows(tmp_path)}
    assert "Already finished" in run(tmp_path, command(table))[1]

    other_label(tmp_path / "data", 4)
    code, output = run(tmp_path, command(table))
    assert code == 0, output
    assert "Evaluating anew: moving_label of 1 test cases changed (p4)" in output
    after = {tuple(row[key] for key in CASE): row["value"] for row in rows(tmp_path)}
    dice = {
        key: value for key, value in after.items() if key[2:] == ("mean", "dice") and key[1] != "unregistered"
    }
    changed = {key[0] for key, value in dice.items() if value != before[key]}
    assert changed == {"p4"}

    code, output = run(tmp_path, command(table, "callbacks.best.monitor=val/loss", "callbacks.best.mode=min"))
    assert code == 1
    assert "callbacks.best.monitor is 'val/loss' and was 'val/dice_mean'" in output

    other_label(tmp_path / "data", 0)
    code, output = run(tmp_path, command(table))
    assert code == 1
    assert "moving_label of 1 train cases changed (p0)" in output
    assert "fresh=true" in output
    record = json.loads((run_folder(tmp_path) / "run.json").read_text())
    assert record["status"] == "finished"
    code, output = run(tmp_path, command(table, "fresh=true"))
    assert code == 0, output
    assert len(list(run_folder(tmp_path).glob("earlier/*/results.csv"))) == 1


def test_training_subjects_are_never_reported_and_the_split_of_the_training_stays(tmp_path):
    table = small_pairs(tmp_path / "data")
    assert run(tmp_path, command(table, "mode=fit"))[0] == 0
    split = (run_folder(tmp_path) / "split.csv").read_text()
    listed(tmp_path / "data", ("test", "test", "val", "train", "train"))
    code, output = run(tmp_path, command(table, "mode=test"))
    assert code == 1
    assert "(p0, p1)" in output
    assert (run_folder(tmp_path) / "split.csv").read_text() == split
    listed(tmp_path / "data", SPLITS)
    assert run(tmp_path, command(table, "mode=test"))[0] == 0
    path = run_folder(tmp_path) / "checkpoints" / "last.ckpt"
    listed(tmp_path / "data", ("test", "train", "val", "test", "test"))
    for option in (f"init={path}", f"resume={path}", f"ckpt={path}"):
        mode = "mode=test" if option.startswith("ckpt") else "mode=both"
        code, output = run(tmp_path / "other", command(table, option, mode))
        assert code == 1, option
        assert "(p0)" in output, option


def test_resume_of_another_model_says_what_ckpt_says(tmp_path):
    table = small_pairs(tmp_path / "data")
    assert run(tmp_path, command(table, "mode=fit"))[0] == 0
    path = run_folder(tmp_path) / "checkpoints" / "last.ckpt"
    told = {}
    for option in ("init", "resume"):
        words = [word for word in command(table) if not word.startswith("model")]
        code, output = run(tmp_path / "other", [*words, "model=midir", f"{option}={path}"])
        assert code == 1
        assert "Traceback" not in output
        told[option] = next(line for line in output.splitlines() if "does not fit this model" in line)
    assert told["init"] == told["resume"]


def test_checkpoints_are_looked_for_before_the_training(tmp_path):
    table = small_pairs(tmp_path / "data")
    for option in ("ckpt", "resume", "init"):
        code, output = run(tmp_path, command(table, f"{option}=/nope"))
        assert code == 1
        assert "No checkpoint at /nope" in output
    assert not list(tmp_path.glob("outputs/*/checkpoints"))


def test_killed_registrations_leave_whole_files_and_the_inputs(tmp_path):
    small_pairs(tmp_path)
    before = (tmp_path / "m0.nii.gz").read_bytes()
    words = [
        sys.executable,
        "-m",
        "medreg.cli.main",
        "register",
        "f0.nii.gz",
        "m0.nii.gz",
        "-o",
        "out",
        "--no-affine",
    ]
    for wait in (3.0, 5.0, 7.0):
        process = subprocess.Popen(
            words, cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(wait)
        process.kill()
        process.wait()
        assert all(file.stat().st_size > 100 for file in tmp_path.glob("out/[a-z]*"))
    done = subprocess.run(words, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "m0.nii.gz").read_bytes() == before
    assert {"warped.nii.gz", "displacement.nii.gz", "metrics.json"} <= {
        p.name for p in tmp_path.glob("out/*")
    }
