"""Runs of every model of hearts open from what their training leaves, and answer or say why not."""

from __future__ import annotations

import pytest
import torch
from hearts_run import known_heart
from omegaconf import OmegaConf

from medreg.api import age, complete, generate
from medreg.config.compose import compose
from medreg.config.instantiate import build
from medreg.errors import CheckpointError, ConfigError
from medreg.generating.run import GenerationRun
from medreg.io.image import Volume

CYCLE = ["data=heart_population", "data.grid=tiny"]
KINDS = {
    "cheart": (CYCLE, {"generate", "complete", "age"}),
    "cheart_released": (CYCLE, {"generate", "complete", "age"}),
    "ae_lstm": (CYCLE, {"complete", "age"}),
    "cvae_frame": (CYCLE, {"generate", "complete"}),
    "cgan_seq": (CYCLE, {"generate"}),
    "cvae_gan_seq": (CYCLE, {"generate", "complete", "age"}),
    "copy_ed": (CYCLE, {"complete"}),
    "ageheart": ([*CYCLE, "data.phases=edes"], {"generate", "age"}),
}


def opened(kind, overrides, folder):
    cfg = compose([f"model={kind}", *overrides])
    model = build(cfg.model)
    weights = {f"model.{name}": value for name, value in model.state_dict().items()}
    (folder / "checkpoints").mkdir(parents=True)
    torch.save({"state_dict": weights, "medreg": {}}, folder / "checkpoints" / "best.ckpt")
    resolved = OmegaConf.create(OmegaConf.to_container(cfg, resolve=True))
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(resolved))
    return GenerationRun.open(folder)


QUICK = ("cheart", "copy_ed", "ageheart")


@pytest.mark.parametrize(
    "kind", [kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS]
)
def test_run_opens_and_answers(tmp_path, kind):
    overrides, answers = KINDS[kind]
    run = opened(kind, overrides, tmp_path / "run")
    affine = torch.diag(torch.tensor([5.0, 5.0, 8.0, 1.0])).double().numpy()
    codes = torch.tensor([0, *run.labels.values()])[torch.from_numpy(known_heart()[[0, 5]]).long()]
    heart = Volume(codes.movedim(0, -1).numpy(), affine, (5.0, 5.0, 8.0))
    said = {
        name: {"age_years": 60, "sex": "F"}[name]
        for name in ("age_years", "sex")
        if name in run.conditions.names
    }
    older = {name: value for name, value in said.items() if name == "sex"}
    asked = {
        "generate": lambda: generate(run, said),
        "complete": lambda: complete(Volume(heart.array[..., 0], affine, heart.spacing_mm), run, said),
        "age": lambda: age(heart, run, older, from_age=50, to_age=70, steps=2),
    }
    for verb, ask in asked.items():
        if verb in answers:
            assert ask()[0].array.shape == (32, 32, 16, run.model.frames)
        else:
            with pytest.raises((CheckpointError, ConfigError)):
                ask()
