"""Every command that registers with a run gives the same field for the same pair of files."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from omegaconf import OmegaConf
from small_run import run, trained
from tiny_task import SHAPE, tiny_task, write_image

from medreg.baselines.scripts.serving import _answer
from medreg.cli.main import main
from medreg.config.compose import compose
from medreg.config.instantiate import build
from medreg.io.field import read_displacement
from medreg.models.chosen_smoothness import ChosenSmoothness
from medreg.studies.benchmark import crew, worker
from medreg.studies.smoothness.run_cases import load_cases, load_run
from medreg.tasks.registration import RegistrationTask

TINY = ("model.encoder=[4,4]", "model.decoder=[4]", "model.out=[4]")
LEVELS = "[{shrink: 1, sigma: 0.0, iterations: 5, learning_rate: 0.2}]"
KINDS = {
    "conditional": ("model=hypermorph", *TINY, "task.smoothness=1"),
    "masked": ("model=optimise", "similarity=ssd", f"model.levels={LEVELS}"),
    "unmasked": ("model=optimise", "similarity=ssd", f"model.levels={LEVELS}", "task.use_masks=false"),
    "refined": ("model=voxelmorph", *TINY, "refine=instance", f"refine.levels={LEVELS}"),
}


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """Three scans with masks that hold half of the box that moves."""
    folder = tiny_task(tmp_path_factory.mktemp("data"))
    mask = np.zeros(SHAPE, np.uint8)
    mask[:, 2:6, 2:8] = 1
    for number in (1, 2, 3):
        write_image(folder / f"masksTr/Tiny_000{number}_0000.nii.gz", mask)
    return folder


def data_of(task):
    return [
        "data=learn2reg", f"data.dataset.root={task}", "data.dataset.task=Tiny",
        "data.split.train_on_evaluation=true", "data.split.val=0", "data.loader.batch_size=1",
        "data.pairing.otherwise.scheme=next", "data.cache.kind=memory",
    ]  # fmt: skip


def made(folder, task, kind):
    """A run folder of this kind with random weights."""
    words = [*data_of(task), *KINDS[kind]]
    cfg = compose(words, with_hydra=True)
    config = OmegaConf.to_container(compose(words), resolve=True)
    model = build(config["model"])
    torch.manual_seed(1)
    state = {f"model.{key}": 0.1 * torch.randn_like(value) for key, value in model.state_dict().items()}
    record = {"overrides": words, "choices": OmegaConf.to_container(cfg.hydra.runtime.choices)}
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "run.json").write_text(json.dumps(record))
    if state:
        content = {"state_dict": state, "medreg": {**record, "config": config}}
        torch.save(content, folder / "checkpoints" / "best.ckpt")
    return folder


class InProcess:
    """A worker without a process of its own: the same requests to the same function."""

    alive = True

    def __init__(self, *args, **more):
        self.register = worker.load()

    def hello(self):
        pass

    def ask(self, request, **more):
        return _answer(self.register, request)

    close = hello


def evaluated(folder, task, tmp_path, monkeypatch):
    """The field of `mode=test ckpt=RUN`, which names the data and nothing else."""
    seen, test_step = {}, RegistrationTask.test_step

    def watched(self, batch, index):
        result = test_step(self, batch, index)
        seen[batch["case"][0]] = result.arrays["displacement"].cpu().numpy()
        return result

    monkeypatch.setattr(RegistrationTask, "test_step", watched)
    words = ["mode=test", f"ckpt={folder}", *data_of(task), "logger=none", "report=false", "pictures=0"]
    code, output = run(tmp_path / "test", words)
    assert code == 0, output
    return seen[min(seen)]


def fields(folder, task, tmp_path, monkeypatch):
    """The field of the pair (0001, 0002) by every command, (3, X, Y, Z)."""
    found = {"mode=test": evaluated(folder, task, tmp_path, monkeypatch)}
    names = [task / f"imagesTr/Tiny_000{k}_0000.nii.gz" for k in (1, 2)]
    masks = [str(name).replace("images", "masks") for name in names]
    words = [
        "register",
        *map(str, names),
        "-o",
        str(tmp_path / "pair"),
        "--ckpt",
        str(folder),
        "--no-overview",
    ]
    assert main([*words, "--fixed-mask", masks[0], "--moving-mask", masks[1]]) == 0
    found["register"] = read_displacement(tmp_path / "pair/displacement.nii.gz").displacement
    submitted = ["--task", "Tiny", "--data", str(task), "-o", str(tmp_path / "fields")]
    assert main(["submit", "--run", str(folder), *submitted]) == 0
    monkeypatch.setattr(crew, "Worker", InProcess)
    out = tmp_path / "benchmark"
    words = [f"data.root={task}", "data.task=Tiny", "data.generate=null", "method=[]", "threads=1"]
    assert main(["benchmark", *words, f"runs=[{folder}]", "only=register", f"out={out}"]) == 0
    places = {"submit": tmp_path / "fields", "benchmark": out / folder.name / "fields"}
    for name, place in places.items():
        file = next(place.glob("disp_0001*0002*"))
        found[name] = np.moveaxis(np.asarray(nib.load(file).dataobj), -1, 0)
    opened = load_run(folder)
    first = min(load_cases(opened, "test").batches, key=lambda batch: batch["case"][0])
    found["search-smoothness, draw-smoothness"] = opened.displacement(first)[0].numpy()
    return found


def agree(found, *, least):
    wanted = found["mode=test"]
    assert np.abs(wanted).max() > least
    for name, field in found.items():
        np.testing.assert_allclose(np.squeeze(field), wanted, atol=1e-4, err_msg=name)
    return wanted


@pytest.fixture(scope="module")
def seen():
    return {}


@pytest.mark.parametrize("kind", KINDS)
def test_every_command_gives_one_field(kind, task, tmp_path, monkeypatch, seen):
    seen[kind] = agree(fields(made(tmp_path / kind, task, kind), task, tmp_path, monkeypatch), least=0.05)
    if kind == "unmasked" and "masked" in seen:  # the masks of the task do change the field
        assert np.abs(seen["masked"] - seen["unmasked"]).max() > 0.01


def test_lambda_and_refinement_of_a_run_change_its_field(task, tmp_path):
    """So that the agreement above is one about them."""
    for kind, other in (
        ("conditional", {"smoothness": ChosenSmoothness(0.5)}),
        ("refined", {"refine": False}),
    ):
        opened = load_run(made(tmp_path / kind, task, kind))
        batch = load_cases(opened, "test", limit=1).batches[0]
        gap = opened.displacement(batch) - opened.displacement(batch, **other)
        assert float(gap.abs().max()) > 0.01, kind


def test_a_run_that_was_trained(task, tmp_path, monkeypatch):
    words = [
        *data_of(task),
        "model=voxelmorph",
        *TINY,
        "trainer.max_epochs=1",
        "mode=fit",
        "optimiser.lr=0.05",
    ]
    agree(fields(trained(tmp_path / "fit", words), task, tmp_path, monkeypatch), least=0.0)
