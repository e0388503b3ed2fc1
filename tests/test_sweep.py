"""Multirun: one failed job does not stop the others, the sweep says which, and repeating it runs what is missing."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time

import pytest
from small_run import arguments, run, run_process, start, tiny_acdc


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


@pytest.mark.slow
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
def test_a_search_for_several_objectives_has_a_pareto_front(data, tmp_path):
    options = arguments(data, "trainer.max_epochs=1", "report=false", "objective=[dice,folding_percent]")
    search = ["hydra/sweeper=random", "hydra.sweeper.n_trials=2", "optimiser.lr=tag(log,interval(1e-4,1e-2))"]
    code, output = run(tmp_path, [*options, *search], flags=("-m",))
    assert code == 0, output
    assert [len(record["objective"]) for record in records(tmp_path).values()] == [2, 2]
    (folder,) = tmp_path.glob("outputs/sweep_*")
    assert (folder / "figures" / "pareto.png").is_file()


@pytest.mark.slow
def test_a_search_ends_hopeless_trainings_by_the_pruner_of_its_options(data, tmp_path):
    search = [
        "hydra/sweeper=bayes_pruned",
        "hydra.sweeper.n_trials=3",
        "hydra.sweeper.pruner._target_=optuna.pruners.ThresholdPruner",
        "~hydra.sweeper.pruner.n_startup_trials",
        "+hydra.sweeper.pruner.lower=2.0",  # no Dice is that good
        "optimiser.lr=tag(log,interval(1e-4,1e-2))",
    ]
    code, output = run(tmp_path, [*arguments(data, "report=false"), *search], flags=("-m",))
    assert code == 0, output  # a trial that does not finish is no failure of a search
    found = list(records(tmp_path).values())
    assert len(found) == 3
    assert all("Ended early in epoch 1" in record["error"] for record in found)


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


def objectives(folder):
    """What each setting of the options came to, whatever its run folder is called."""
    found = {}
    for file in folder.glob("outputs/*/run.json"):
        record = json.loads(file.read_text())
        varied = tuple(
            sorted(word for word in record["overrides"] if word.startswith(("seed", "regularisation")))
        )
        found[varied] = (record["status"], record["objective"])
    return found


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize(
    "varied",
    [
        ["regularisation.weight=0.01,0.1", "seed=1,2"],
        [
            "regularisation.weight=tag(log,interval(0.001,1))",
            "hydra/sweeper=bayes",
            "hydra.sweeper.n_trials=4",
        ],
    ],
    ids=["grid", "search"],
)
def test_killed_five_times_a_sweep_ends_as_if_undisturbed(data, tmp_path, varied):
    options = [*arguments(data, "trainer.max_epochs=2", "report=false"), *varied]
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    calm.mkdir()
    killed.mkdir()
    began = time.monotonic()
    assert run_process(calm, options, flags=("-m",))[0] == 0
    whole = time.monotonic() - began
    for moment in range(1, 6):
        before = {name: record for name, record in records(killed).items() if record["status"] == "finished"}
        process = start(killed, options, flags=("-m",))
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=whole * (0.25 + 0.1 * moment))
        process.kill()
        process.wait()
        after = records(killed)
        assert {name: after[name]["finished"] for name in before} == {
            n: r["finished"] for n, r in before.items()
        }
    assert run_process(killed, options, flags=("-m",))[0] == 0
    assert objectives(killed) == objectives(calm)
