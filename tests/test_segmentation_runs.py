"""Segmentation from few labels by one command: every augmentation trains, resumes, sweeps; mistakes are sentences."""

from __future__ import annotations

import csv
import json
import math
import signal
import time
from pathlib import Path

import pytest
import torch
from small_run import run, run_folder, run_process, start

from medreg.config.paths import config_dir

# Of the issue; each is an option of the group.
RANDOM = {"none", "standard", "mixup", "cutmix", "randaugment", "randconv", "gin"}
ADVERSARIAL = {"random_chain", "advchain", "advnoise", "advbias", "advmorph", "advaffine", "vat"}
SEMI = {"none", "consistency", "mean_teacher"}
SMALL = (
    "data.dataset.prepare.subjects=6",
    "data.dataset.prepare.testing=1",
    "data.dataset.prepare.frames=2",
    "data.dataset.prepare.slices=[2,2]",
    "data.dataset.prepare.size=[32,36]",
    "data.dataset.prepare.spacing_mm=[5,5.5]",
    "data.preprocess.size=[32,32]",
    "data.loader.batch_size=2",
    "data.labelled=2",
    "trainer.max_steps=2",
    "logger=none",
    "report=false",
    "pictures=0",
)
MEMBERS = "augmentation.consistency.adversary.members"


@pytest.fixture(scope="module")
def hearts(tmp_path_factory):
    """Options of a training on six people of the phantom, slices of 32 × 32."""
    return [
        "data=cardiac_phantom_segmentation",
        f"data.dataset.root={tmp_path_factory.mktemp('hearts')}",
        "model=unet_16",
        *SMALL,
    ]


def told(folder):
    """The numbers of the last step, by name."""
    with (run_folder(folder) / "history.csv").open() as stream:
        return {row["name"]: float(row["value"]) for row in csv.DictReader(stream)}


def finished(folder, options):
    code, output = run(folder, options)
    assert code == 0, output
    numbers = told(folder)
    assert all(math.isfinite(value) for value in numbers.values())
    assert json.loads((run_folder(folder) / "run.json").read_text())["status"] == "finished"
    return numbers


def test_every_name_of_the_issue_is_an_option():
    names = {
        group: {file.stem for file in (config_dir() / group).glob("*.yaml")}
        for group in ("augmentation", "semi")
    }
    assert names["augmentation"] >= RANDOM | ADVERSARIAL | {"advchain_release"}
    assert names["semi"] == SEMI


# --- it trains


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(RANDOM | ADVERSARIAL | {"advchain_release", "standard_prostate"}))
def test_every_augmentation_trains(hearts, name, tmp_path):
    numbers = finished(tmp_path, [*hearts, f"augmentation={name}"])
    adversarial = name in ADVERSARIAL or name == "advchain_release"
    assert ("train/consistency" in numbers) == adversarial
    if name == "random_chain":
        assert numbers["train/consistency"] == numbers["train/consistency_start"] > 0
    if adversarial:
        assert numbers["train/consistency"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("semi", sorted(SEMI))
def test_every_way_to_learn_without_labels_trains(hearts, semi, tmp_path):
    numbers = finished(tmp_path, [*hearts, "augmentation=advchain", f"semi={semi}"])
    assert ("train/unlabelled" in numbers) == (semi != "none")
    assert numbers["train/consistency"] > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        ["model=unet", "+model.dropout=0.2"],
        ["model.dropout=0.2"],
        ["trainer.precision=bf16-mixed"],
        ["model.norm=instance", "data.loader.batch_size=1"],
        ["augmentation.consistency.adversary.ignore_background=true"],
    ],
    ids=["unet", "dropout", "bf16", "one-image", "background"],
)
def test_networks_of_other_kinds_train(hearts, options, tmp_path):
    assert finished(tmp_path, [*hearts, "augmentation=advchain", *options])["train/consistency"] > 0


@pytest.mark.slow
def test_volumes_train(hearts, tmp_path):
    """The same people, as `data=acdc_segmentation_volume` reads them; the phantom is written in ACDC's layout."""
    finished(tmp_path / "slices", [*hearts, "augmentation=none"])
    root = Path(hearts[1].partition("=")[2])
    (training,) = root.glob("**/training")
    numbers = finished(
        tmp_path / "volumes",
        [
            "data=acdc_segmentation_volume",
            "model=unet",
            "augmentation=advchain",
            f"data.dataset.root={training.parent}",
            "data.preprocess.spacing_mm=null",
            "data.preprocess.size=[32,32,16]",
            "data.labelled=2",
            "data.split.val=0.25",
            *(word for word in SMALL if word.startswith(("trainer", "logger", "report", "pictures"))),
            "data.loader.batch_size=2",
        ],
    )
    assert numbers["train/consistency"] > 0


# --- as every run does


@pytest.mark.slow
def test_a_killed_training_with_an_adversary_ends_in_the_same_bits(hearts, tmp_path):
    options = [
        *(word for word in hearts if not word.startswith("trainer")),
        "augmentation=advchain",
        "semi=consistency",
        "trainer.max_epochs=6",
        "trainer.check_val_every_n_epoch=1",
    ]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    code, output = run_process(whole, options)
    assert code == 0, output
    killed.mkdir()
    process = start(killed, options)
    deadline, seen = time.monotonic() + 200, set()
    while len(seen) < 2 and process.poll() is None and time.monotonic() < deadline:
        seen.update(p.stat().st_mtime_ns for p in killed.glob("outputs/*/checkpoints/last.ckpt"))
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert seen, "no checkpoint was written before the deadline"
    assert json.loads((run_folder(killed) / "run.json").read_text())["status"] != "finished"
    code, output = run_process(killed, options)
    assert code == 0, output
    one, other = (
        torch.load(run_folder(folder) / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for folder in (whole, killed)
    )
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    histories = [(run_folder(folder) / "history.csv").read_text() for folder in (whole, killed)]
    assert histories[0] == histories[1]


@pytest.mark.slow
def test_a_sweep_over_two_augmentations(hearts, tmp_path):
    code, output = run(tmp_path, [*hearts, "augmentation=standard,advchain"], flags=("-m",))
    assert code == 0, output
    records = [json.loads(file.read_text()) for file in tmp_path.glob("outputs/*/run.json")]
    assert [record["status"] for record in records] == ["finished", "finished"]
    swept = {word for record in records for word in record["overrides"] if word.startswith("augmentation")}
    assert swept == {"augmentation=standard", "augmentation=advchain"}


@pytest.mark.slow
def test_wandb_is_offline(hearts, tmp_path):
    options = [word for word in hearts if word != "logger=none"]
    code, output = run_process(tmp_path, [*options, "augmentation=advchain", "logger=wandb"])
    assert code == 0, output
    (file,) = run_folder(tmp_path).glob("wandb/offline-run-*/*.wandb")
    assert b"consistency" in file.read_bytes()


@pytest.mark.slow
def test_two_processes_train(hearts, tmp_path):
    options = [
        *hearts,
        "augmentation=advchain",
        "semi=consistency",
        "trainer=ddp",
        "trainer.accelerator=cpu",
        "data.loader.batch_size=1",
        "model.norm=instance",
    ]
    code, output = run_process(tmp_path, options)
    assert code == 0, output
    assert told(tmp_path)["train/consistency"] > 0


# --- what cannot work is a sentence


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["data.labels.LV=9"], "data.labels names LV (9), which none of the 8 label maps holds; they hold 0, 1, 2, 3"),
        (["~data.labels.LV"], "holds label 3, which data.labels does not name (known: 0, 1, 2)"),
        (["+data.labels.ATRIUM=9"], "data.labels names ATRIUM (9), which none of the 8 label maps holds"),
        (["augmentation=advchain", "semi=consistency", "data.labelled=null"], "Set data.labelled=3"),
        (["augmentation=advchain", "semi=mean_teacher", "data.labelled=4"], "Set data.labelled=3"),
        (["augmentation=standard", "semi=consistency"], "semi=consistency needs an augmentation"),
        (
            ["model=unet", "augmentation=advchain", "augmentation.batch.copies=all", "data.loader.batch_size=1",
             "data.preprocess.size=[16,16]"],
            "Batch normalisation cannot train on 1 image of [16, 16] voxels",
        ),
        (["augmentation=advnoise", f"~{MEMBERS}.noise"], "The adversary has no members"),
        (["augmentation=advnoise", f"{MEMBERS}.noise=null"], "The adversary has no members"),
        (["augmentation=advchain", f"{MEMBERS}.bias.epsilon=1.2"], "bias.epsilon is 1.2"),
        (["augmentation=advchain", f"{MEMBERS}.noise.epsilon=-1"], "noise.epsilon is -1"),
        (["augmentation=advchain", f"{MEMBERS}.affine.scale=1.5"], "affine.scale is 1.5"),
        (["data.labelled=99"], "data.labelled=99: only 4 training subjects have label maps"),
        (["data.labelled=0"], "data.labelled is 0"),
        (["augmentation=advchian"], "Did you mean 'advchain'"),
        (["semi=fixmatch"], "Options of semi: consistency, mean_teacher, none"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_a_sentence_before_any_work(hearts, options, sentence, tmp_path):
    code, output = run(tmp_path, [*hearts, *options])
    assert code == 1
    assert sentence in output
    assert "Traceback" not in output
    assert not list(tmp_path.glob("outputs/*/checkpoints/*.ckpt"))


@pytest.mark.slow
def test_a_chain_that_leaves_nothing_to_compare_is_told(hearts, tmp_path):
    code, output = run(tmp_path, [*hearts, "augmentation=advaffine", f"{MEMBERS}.affine.shift=60"])
    assert code == 0
    assert "No voxel of these images came back from the chain" in output
