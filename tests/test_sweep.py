"""Multirun: one failed job does not stop the others, the sweep says which, and repeating it runs what is missing."""

from __future__ import annotations

import json

import pytest
from small_run import arguments, run, run_process, tiny_acdc


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny_acdc(tmp_path_factory.mktemp("acdc"))


def records(folder):
    return {path.parent.name: json.loads(path.read_text()) for path in folder.glob("outputs/*/run.json")}


def test_failed_job_is_named_and_the_others_finish(data, tmp_path):
    options = arguments(data, "trainer.max_epochs=1", "optimiser.lr=1e30,1e-3")
    code, output = run(tmp_path, options, flags=("-m",))
    assert code == 1
    assert "1 of 2 jobs did not finish" in output
    assert sorted(record["status"] for record in records(tmp_path).values()) == ["failed", "finished"]


def test_repeating_a_sweep_runs_only_what_is_missing(data, tmp_path):
    options = arguments(data, "trainer.max_epochs=1")
    assert run(tmp_path, [*options, "seed=1"])[0] == 0
    before = records(tmp_path)
    code, output = run(tmp_path, [*options, "-m", "seed=1,2"])  # the flag anywhere
    assert code == 0, output
    after = records(tmp_path)
    assert len(after) == 2
    for name, record in before.items():
        assert after[name] == record


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [["joblib", "hydra.launcher.n_jobs=2"], ["submitit_local"]])
def test_launchers_start_jobs_side_by_side(data, tmp_path, launcher):
    name, *more = launcher
    options = arguments(data, "trainer.max_epochs=1", "seed=1,2", f"hydra/launcher={name}", *more)
    code, output = run_process(tmp_path, options, flags=("-m",))
    assert code == 0, output
    assert [record["status"] for record in records(tmp_path).values()] == ["finished", "finished"]


def test_several_devices_in_a_sweep_are_refused(data, tmp_path):
    code, output = run(tmp_path, arguments(data, "trainer=ddp", "seed=1,2"), flags=("-m",))
    assert code == 1
    assert "one device" in output
