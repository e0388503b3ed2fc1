"""Bayesian registration by command: killed at any moment it ends with the same bits; its memory is bounded."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from small_pairs import small_pairs
from small_run import ROOT, environment, run, run_folder, run_process, start

COST = {"time_s", "peak_memory_mib", "samples_per_second"}  # what clocks and the machine decide


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    table = small_pairs(tmp_path_factory.mktemp("pairs"))
    return [
        "model=bayes", "inference=sgld", "data=folder", f"data.dataset.root={table}", "mode=test", "logger=none",
        "report=false", "pictures=0", "inference.variational.iterations=60", "inference.burn_in=10",
        "inference.transitions=80", "inference.thin=4", "transformation.steps=3", "task.keep_state_s=0",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(options, tmp_path_factory):
    """The rows of results.csv of a run that nobody stopped."""
    folder = tmp_path_factory.mktemp("undisturbed")
    code, output = run(folder, options)
    assert code == 0, output
    return results(folder)


def results(folder):
    """Everything in results.csv but what was measured with a clock or of the machine."""
    with (run_folder(folder) / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    found = [row for row in rows if row["metric"] not in COST]
    assert {"displacement_sd_mm", "r_hat_max", "dice"} <= {row["metric"] for row in found}
    return found


def killed_while(folder, options, stage, states):
    """Start the command and end it with `kill -9` when the state of a stage was written so many times."""
    process = start(folder, options)
    deadline, seen = time.monotonic() + 200, set()
    while len(seen) < states and process.poll() is None and time.monotonic() < deadline:
        seen.update(p.stat().st_mtime_ns for p in folder.glob(f"outputs/*/store/sampling/*/*/{stage}.state"))
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    output, _ = process.communicate()
    assert len(seen) >= states, output


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("stage", ["fit", "sampling"])
def test_killed_in_the_middle_it_ends_with_the_same_bits(stage, options, undisturbed, tmp_path):
    killed_while(tmp_path, options, stage, 8)
    left = {path.name for path in tmp_path.glob("outputs/*/store/sampling/*/*/*.state")}
    assert f"{stage}.state" in left
    assert stage == "sampling" or "sampling.state" not in left
    code, output = run_process(tmp_path, options)
    assert code == 0, output
    assert results(tmp_path) == undisturbed
    assert not list(tmp_path.glob("outputs/*/store/sampling/*/*/*.state"))


SCRIPT = """
import resource, sys
from types import SimpleNamespace
import torch
from medreg.config.compose import compose
from medreg.config.instantiate import build

samples, folder = int(sys.argv[1]), sys.argv[2]
torch.set_num_threads(1)
options = ["model=bayes", "inference=sgld", "likelihood=gaussian", "transformation=svffd", "transformation.steps=1"]
options += ["inference.variational.iterations=3", "inference.burn_in=3", "inference.thin=1"]
options += ["inference.variational.std=0.05", "inference.variational.factor=0.01"]
options += [f"inference.transitions={samples // 2}"]
options += ["logger=none", "data.ndim=3", "prior=fixed", "metrics.surface=false"]
task = build(compose(options).task)
task.evaluator.labels, task.name = {"block": 7}, "bayes"
task._trainer = SimpleNamespace(default_root_dir=folder)
image = torch.rand(1, 1, 36, 32, 34, generator=torch.Generator().manual_seed(0))
label = torch.zeros(1, 1, 36, 32, 34, dtype=torch.int64)
label[..., 8:20, 8:20, 8:20] = 7
batch = {
    "fixed_image": image, "moving_image": image.roll(1, 2), "fixed_label": label, "moving_label": label.roll(1, 2),
    "spacing_mm": torch.tensor([[1.5, 2.0, 4.0]]), "affine": torch.eye(4, dtype=torch.float64)[None],
    "slice_index": torch.tensor([-1]), "case": ["a"], "fixed_id": ["f"], "moving_id": ["m"],
}
result = task.test_step(batch, 0)
drawn = [row.value for row in result.rows["bayes"] if row.metric == "samples"]
print(int(drawn[0]), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_memory_of_a_case_does_not_grow_with_its_samples(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))

    def peak(samples):
        done = subprocess.run(
            [sys.executable, str(script), str(samples), str(tmp_path / str(samples))],
            env=environment(PYTHONPATH=str(ROOT), MALLOC_ARENA_MAX="1"),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        drawn, kilobytes = done.stdout.split()[-2:]
        assert int(drawn) == samples
        return int(kilobytes)

    few, many = peak(10), peak(500)  # kept, the other 490 displacements would be 220 MiB
    assert many <= 1.1 * few
