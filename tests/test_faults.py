"""What goes wrong on real machines ends, or goes on, with a clear message, and nothing already computed is lost."""

from __future__ import annotations

import csv
import json
import subprocess
import time

import pytest
import torch
from small_run import arguments, run, run_folder, run_process, start, tiny_acdc


@pytest.fixture
def data(tmp_path):
    return tiny_acdc(tmp_path / "acdc")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of one megabyte, where the system lets us make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=False)


def test_full_disk_keeps_the_last_checkpoint_and_continues(data, small_disk):
    options = arguments(data, "model.encoder=[8,8]", "trainer.max_epochs=2")
    filler = small_disk / "filler"
    filler.write_bytes(b"\0" * 900_000)
    code, output = run(small_disk, options)
    assert code == 1
    assert "is full" in output
    assert "Traceback" not in output
    filler.unlink()
    code, output = run(small_disk, [*options, "report=false"])
    assert code == 0, output
    torch.load(run_folder(small_disk) / "checkpoints" / "last.ckpt", weights_only=True)


@pytest.mark.parametrize(("policy", "expected"), [("error", 1), ("skip", 0)])
def test_corrupt_file_is_named_or_left_out(data, tmp_path, policy, expected):
    broken = data / "training" / "patient002" / "patient002_frame03.nii.gz"
    broken.write_bytes(broken.read_bytes()[:200])
    code, output = run(tmp_path, arguments(data, f"data.on_corrupt={policy}", "trainer.max_epochs=1"))
    assert code == expected, output
    assert "patient002_frame03.nii.gz" in output
    assert "Traceback" not in output


@pytest.mark.slow
def test_a_dead_worker_is_explained(data, tmp_path):
    options = arguments(data, "data.loader.num_workers=1", "trainer.max_epochs=500")
    process = start(tmp_path, options)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("outputs/*/checkpoints/last.ckpt")) and time.monotonic() < deadline:
        time.sleep(0.05)
    workers = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=False)
    subprocess.run(["kill", "-9", *workers.stdout.split()], check=False)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1, output
    assert "data-loading process died" in output
    assert list(tmp_path.glob("outputs/*/checkpoints/last.ckpt"))


@pytest.mark.slow
def test_two_processes_see_the_same_cases_once(tmp_path):
    data = tiny_acdc(tmp_path / "acdc", subjects=9)
    options = arguments(
        data,
        "trainer=ddp",
        "trainer.accelerator=cpu",
        "trainer.max_epochs=2",
        "data.split.test=0.34",
        "data.split.val=0.34",
    )
    code, output = run_process(tmp_path, options)
    assert code == 0, output
    folder = run_folder(tmp_path)  # one run folder
    with (folder / "results.csv").open() as stream:
        table = list(csv.DictReader(stream))
    keys = [(r["case"], r["method"], r["structure"], r["metric"]) for r in table]
    assert len(keys) == len(set(keys))
    assert len({row["case"] for row in table}) == 3
    assert not list(folder.glob("results.rank*"))
    history = (folder / "history.csv").read_text().splitlines()
    assert len(history) == len(set(history)) == 1 + 2 * 5


@pytest.mark.slow
def test_wandb_is_offline_and_complete(data, tmp_path):
    code, output = run_process(tmp_path, arguments(data, "logger=wandb", "trainer.max_epochs=1"))
    assert code == 0, output
    folder = run_folder(tmp_path)
    assert len((folder / "wandb_id.txt").read_text().strip()) == 12
    files = list(folder.glob("wandb/offline-run-*/*.wandb"))
    assert len(files) == 1
    assert files[0].stat().st_size > 1000
    assert json.loads((folder / "run.json").read_text())["status"] == "finished"


@pytest.mark.slow
def test_wandb_online_without_key_or_network_does_not_stop_the_run(data, tmp_path):
    options = arguments(data, "logger=wandb", "logger.offline=false", "trainer.max_epochs=1")
    home = {"HOME": str(tmp_path), "NETRC": str(tmp_path / "netrc"), "WANDB_API_KEY": ""}
    code, output = run_process(
        tmp_path,
        options,
        WANDB_MODE="online",
        WANDB_BASE_URL="http://127.0.0.1:9",
        WANDB_INIT_TIMEOUT="5",
        **home,
    )
    assert code == 0, output
    assert "W&B is not available" in output
