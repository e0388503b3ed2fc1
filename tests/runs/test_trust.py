"""A stranger's run folder runs nothing, whichever command opens it, and is told in a sentence."""

from __future__ import annotations

import contextlib
import os

import pytest
import torch
import yaml
from conditional_models import conditional_run
from small_run import run
from tiny_task import PREPROCESS, identity_run, tiny_task

from medreg.cli.main import main
from medreg.config.command import CAPTURE_RANGE
from medreg.config.compose import compose
from medreg.config.suggest import groups
from medreg.errors import CheckpointError, ConfigError
from medreg.runs.trained import TrainedRun
from medreg.runs.trust import check_configuration
from medreg.studies.capture_range.measures import measures_of

IDENTITY = {"_target_": "medreg.models.identity.Identity"}
SSD = {"_target_": "medreg.losses.similarity.ssd.SSD", "weight": 1.0}


def reader(mark):
    """A class that a configuration may build, and that itself resolves a dotted name."""
    return {"_target_": "monai.transforms.LoadImage", "reader": "os.system", "command": f"touch {mark}"}


def worker(mark):
    """A class of ours that starts a program."""
    log = f"{mark}.log"
    return {
        "_target_": "medreg.baselines.process.Worker",
        "command": ["touch", mark],
        "log": log,
        "variables": {},
    }


PAYLOADS = {
    "a reader as the model": lambda mark: {"model": reader(mark)},
    "a reader as the preparation": lambda mark: {"preprocess": reader(mark)},
    "a reader as the intensities": lambda mark: {"preprocess": {**PREPROCESS, "intensity": reader(mark)}},
    "a reader inside the model": lambda mark: {"model": {**IDENTITY, "more": [{"x": reader(mark)}]}},
    "a worker as the model": lambda mark: {"model": worker(mark)},
    "a worker as the refinement": lambda mark: {"refine": worker(mark)},
    "a worker in the data": lambda mark: {"dataset": worker(mark)},
    "a function": lambda mark: {"model": {"_target_": "os.system", "command": f"touch {mark}"}},
    "a class through our module": lambda mark: {
        "refine": {"_target_": "medreg.data.store.pickle.Unpickler", "file": str(mark)}
    },
    "another kind of class": lambda mark: {"refine": SSD},
    "positional arguments": lambda mark: {"model": {**IDENTITY, "_args_": [f"touch {mark}"]}},
    "an interpolation": lambda mark: {"model": {**IDENTITY, "path": "${oc.env:HOME}"}},
}


def stranger(folder, payload):
    """A folder with the payload in config.yaml and in the checkpoint."""
    run_folder = identity_run(folder)
    config = yaml.safe_load((run_folder / "config.yaml").read_text())
    config["data"] |= {key: payload[key] for key in ("preprocess", "dataset") if key in payload}
    config |= {key: payload[key] for key in ("model", "refine") if key in payload}
    (run_folder / "config.yaml").write_text(yaml.safe_dump(config))
    (run_folder / "checkpoints").mkdir()
    content = {"state_dict": {}, "medreg": {"config": config, "overrides": []}}
    torch.save(content, run_folder / "checkpoints" / "best.ckpt")
    return run_folder


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return tiny_task(tmp_path_factory.mktemp("data"))


def commands(folder, task, out):
    images = [str(task / f"imagesTr/Tiny_000{k}_0000.nii.gz") for k in (1, 2)]
    about = ["--task", "Tiny", "--data", str(task)]
    return {
        "register": ["register", *images, "-o", str(out), "--ckpt", str(folder)],
        "register FILE": ["register", *images, "-o", str(out), "--ckpt", str(folder / "checkpoints/best.ckpt")],
        "submit": ["submit", "--run", str(folder), *about, "-o", str(out / "fields")],
        "container": ["submit", "--container", str(out / "box"), "--run", str(folder), *about],
        "search-smoothness": ["search-smoothness", str(folder)],
        "draw-smoothness": ["draw-smoothness", str(folder)],
        "benchmark": [
            "benchmark", f"runs=[{folder}]", "method=[]", f"data.root={task}", "data.task=Tiny",
            "data.generate=null", f"out={out}",
        ],
    }  # fmt: skip


@pytest.mark.parametrize("kind", PAYLOADS)
def test_no_command_builds_what_a_stranger_names(kind, task, tmp_path, capsys):
    mark = tmp_path / "harmless"
    folder = stranger(tmp_path / "run", PAYLOADS[kind](str(mark)))
    for name, words in commands(folder, task, tmp_path / "out").items():
        assert main(words) == 1, name
        told = capsys.readouterr().err
        assert "nothing of it was built" in told, name
        assert "MEDREG_ALLOW=" not in told
    cfg = CAPTURE_RANGE.compose(["measure=[mad]", f"ckpt={folder}"])
    with pytest.raises(ConfigError, match="nothing of it was built"):
        measures_of(cfg, spacing_mm=(1.0, 1.0))
    code, output = run(tmp_path / "test", ["mode=test", f"ckpt={folder}", "logger=none"])
    assert code == 1
    assert "nothing of it was built" in output
    for words in (
        ["show"],
        ["report", str(folder)],
        ["sweep", str(folder)],
    ):  # build nothing, whatever they say
        with contextlib.suppress(SystemExit):
            main(words)
    assert not list(tmp_path.glob("harmless*"))


def test_the_sentence_names_place_and_class(tmp_path):
    with pytest.raises(ConfigError, match=r"data\.preprocess names monai\.transforms\.LoadImage"):
        TrainedRun.open(stranger(tmp_path / "a", {"preprocess": reader("x")}))
    with pytest.raises(
        ConfigError, match=r"refine names medreg\.losses\.similarity\.ssd\.SSD, which is no Registr"
    ):
        TrainedRun.open(stranger(tmp_path / "b", {"refine": SSD}))


def test_the_annotation_of_an_argument_says_what_may_stand_there():
    energy = {"_target_": "medreg.losses.energy.Energy", "similarity": SSD, "regularisation": SSD}
    with pytest.raises(
        ConfigError, match=r"task\.energy\.regularisation names .*SSD, which is no Regulariser"
    ):
        check_configuration(
            {"task": {"_target_": "medreg.tasks.registration.RegistrationTask", "energy": energy}}, "x"
        )


@pytest.mark.parametrize("model", groups()["model"])
def test_every_model_that_comes_with_medreg_is_trusted(model):
    from omegaconf import OmegaConf

    words = ["data=cardiac_phantom_segmentation"] if model == "unet" else ["refine=instance"]
    try:
        config = OmegaConf.to_container(compose([f"model={model}", *words]), resolve=True)
    except ConfigError:
        pytest.skip("this option changes another one")
    check_configuration(config, "a run of ours")
    config["model"]["_target_"] = "os.system"
    with pytest.raises(ConfigError, match=r"model names os\.system"):
        check_configuration(config, "a run of ours")


def test_a_module_that_has_moved_does_not_spoil_an_old_run(tmp_path):
    folder = identity_run(tmp_path / "run")
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["data"]["_target_"] = "medreg.data.long_ago.Data"
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    assert TrainedRun.open(folder).registration.trainable is False
    config["data"]["dataset"] = reader(tmp_path / "harmless")
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(ConfigError, match=r"data\.dataset names monai"):
        TrainedRun.open(folder)


def test_an_own_package_needs_the_users_word(tmp_path, monkeypatch):
    folder = conditional_run(tmp_path / "run")
    with pytest.raises(ConfigError, match=r"model names conditional_models\.ShiftByWeight"):
        TrainedRun.open(folder)
    monkeypatch.setenv("MEDREG_ALLOW", "conditional_models")
    assert type(TrainedRun.open(folder).model).__name__ == "ShiftByWeight"


def test_configurations_that_cannot_be_read_are_named(tmp_path):
    folder = identity_run(tmp_path / "run")
    for text in ("model: [", "- a"):
        (folder / "config.yaml").write_text(text)
        with pytest.raises(CheckpointError, match=r"config\.yaml"):
            TrainedRun.open(folder)


class Payload:
    """What a pickle runs when it is loaded without care."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("place", ["optimizer_states", "medreg", "state_dict"])
def test_a_pickle_that_runs_code_is_refused_without_advice_to_run_it(place, task, tmp_path, capsys):
    mark = tmp_path / "harmless"
    folder = stranger(tmp_path / "run", {})
    file = folder / "checkpoints" / "best.ckpt"
    content = {
        "state_dict": {},
        "optimizer_states": [],
        "medreg": {"overrides": []},
        place: {"x": Payload(mark)},
    }
    torch.save(content, file)
    (folder / "checkpoints" / "last.ckpt").write_bytes(file.read_bytes())
    for name, words in commands(folder, task, tmp_path / "out").items():
        assert main(words) == 1, name
        told = capsys.readouterr().err
        assert "could run code" in told, name
        assert "weights_only" not in told
        assert "MEDREG_ALLOW" not in told
    assert not mark.exists()


@pytest.mark.slow
@pytest.mark.parametrize("option", ["ckpt", "init", "resume"])
def test_a_training_takes_no_pickle_that_runs_code(option, tmp_path):
    from small_pairs import command, small_pairs

    mark = tmp_path / "harmless"
    file = tmp_path / "a.ckpt"
    torch.save({"state_dict": {"x": Payload(mark)}, "optimizer_states": [], "medreg": {}}, file)
    mode = "mode=test" if option == "ckpt" else "mode=fit"
    code, output = run(tmp_path, command(small_pairs(tmp_path / "data"), f"{option}={file}", mode))
    assert code == 1
    assert "could run code" in output
    assert "weights_only" not in output
    assert not mark.exists()


def test_no_refusal_of_pythons_own_modules_tells_how_to_allow_them():
    for name in ("os.system", "subprocess.Popen", "builtins.eval", "pickle.Unpickler", "shutil.rmtree"):
        for config in ({"model": {"_target_": name}}, {"refine": {"_target_": name}}):
            with pytest.raises(ConfigError) as caught:
                check_configuration(config, "x")
            assert f"MEDREG_ALLOW={name.split('.')[0]}" not in str(caught.value)
