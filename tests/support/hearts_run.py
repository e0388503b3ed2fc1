"""Finished runs of models of hearts without a training, and hearts as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import yaml
from made_hearts import SPACING, made_heart

from medreg.config.instantiate import build
from medreg.io.image import write_labels

LABELS = {"LV": 1, "MYO": 2, "RV": 4}
SIZE = (32, 32, 16)
RANGES = {
    "age_years": (44.0, 82.0), "sex": (0.0, 1.0), "height_cm": (150.0, 195.0), "weight_kg": (45.0, 120.0),
    "sbp_mmhg": (90.0, 190.0),
}  # fmt: skip


def conditions(*names):
    """Options of the conditions; all five by default."""
    number = {"_target_": "medreg.models.hearts.condition.Number"}
    known = {
        "age_years": {"_target_": "medreg.models.hearts.condition.AgeGroup", "centre": 3.0, "scale": 3.0},
        "sex": {"_target_": "medreg.models.hearts.condition.Sex", "signed": True},
        "height_cm": {
            **number,
            "centre": 169.0,
            "scale": 9.0,
            "least": 100.0,
            "greatest": 230.0,
            "unit": "cm",
        },
        "weight_kg": {
            **number,
            "centre": 76.0,
            "scale": 13.0,
            "least": 25.0,
            "greatest": 250.0,
            "unit": "kg",
        },
        "sbp_mmhg": {
            **number,
            "centre": 137.0,
            "scale": 18.0,
            "least": 60.0,
            "greatest": 260.0,
            "unit": "mmHg",
        },
        "group": {"_target_": "medreg.models.hearts.condition.Category", "values": ["NOR", "DCM"]},
    }
    return {
        "_target_": "medreg.models.hearts.conditions.Conditions",
        "conditions": {name: known[name] for name in names or RANGES},
    }


def cheart(frames=10, told=()):
    """Options of a small CHeart."""
    return {
        "_target_": "medreg.models.hearts.cheart.CHeart", "conditions": conditions(*told), "frames": frames,
        "classes": 4, "size": list(SIZE), "n_down": 3, "filters": 4, "latent": 8, "mapped": 8, "mapping_layers": 3,
        "mapping_hidden": 16, "mapping_input_norm": False, "mapping_in": "both", "cell": "lstmcell",
        "cond_position": "before", "first_frame": "code", "decoder": "voxel", "norm": "batch", "sampled": True,
        "checkpoint": False,
    }  # fmt: skip


def stand_in(name, frames=10, told=()):
    """Options of a model of `hearts_models`, which knows its answers; needs MEDREG_ALLOW=hearts_models."""
    return {
        "_target_": f"hearts_models.{name}", "conditions": conditions(*told), "frames": frames, "classes": 4,
        "size": list(SIZE),
    }  # fmt: skip


def hearts_run(folder: Path, model, *, labels=None, phases="cycle", placing=None) -> Path:
    """Write a run folder of a model whose training has seen the people of `RANGES`.

    Args:
        folder: to write.
        model: options of the model.
        labels: structure → code.
        phases: of the data.
        placing: changes to the options of the grid.
    """
    config = {
        "model": model,
        "seed": 1,
        "data": {
            "ndim": 3, "labels": labels or LABELS, "size": list(SIZE), "spacing_mm": list(SPACING), "phases": phases,
            "placing": {
                "_target_": "medreg.data.shape_grid.ShapeGrid", "size": list(SIZE), "spacing_mm": list(SPACING),
                "orient": "stored", "interpolate": "shape", "most_cut_percent": 1.0, "ignored_codes": [],
                **(placing or {}),
            },
        },
        "task": {"_target_": "medreg.tasks.hearts.generation.GenerationTask"},
    }  # fmt: skip
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    torch.manual_seed(1)
    built = build(model)
    told = built.conditions
    for place, name in enumerate(told.names):
        told.low[place], told.high[place] = RANGES.get(name, (0.0, 1.0))
    weights = {f"model.{name}": value for name, value in built.state_dict().items()}
    for name in ("best", "last"):
        torch.save({"state_dict": weights, "medreg": {}}, folder / "checkpoints" / f"{name}.ckpt")
    return folder


def written(file: Path, shape, affine=None, *, labels=None) -> Path:
    """Write a heart (T, X, Y, Z) of places as a label map (X, Y, Z[, T])."""
    codes = np.array([0, *(labels or LABELS).values()], np.uint8)[np.moveaxis(shape, 0, -1)]
    affine = np.diag([*SPACING, 1.0]) if affine is None else affine
    return write_labels(file, codes[..., 0] if codes.shape[-1] == 1 else codes, affine)


def known_heart(frames=10, **options):
    """A heart of the size of the model."""
    return made_heart(frames=frames, **{"size": SIZE, **options})


def without_pictures(monkeypatch):
    """Write empty pictures, for tests of all else."""
    from medreg.generating import figures, writing

    def draw(verb, folder, hearts, **rest):
        for name in figures.PICTURES[verb]:
            (folder / name).touch()

    monkeypatch.setattr(writing, "draw", draw)
