"""The identity of a run: the same composed configuration gives the same run folder.

That is what makes `python train.py …` resumable by repeating the command, and a sweep by repeating the sweep.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

# What may change without making it another run: where results go, what is shown, and what is done with the run.
NOT_IDENTITY = frozenset(
    {
        "hydra",
        "paths",
        "logger",
        "callbacks",
        "report",
        "mode",
        "resume",
        "ckpt",
        "fresh",
        "tags",
        "notes",
        "test_split",
    }
)
OWN_CHECKPOINTS = ("best", "last", None)


def parts(plain: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the parts of a plain configuration that make a run what it is."""
    return {str(key): value for key, value in plain.items() if key not in NOT_IDENTITY}


def config_hash(cfg: DictConfig) -> str:
    """Return eight hexadecimal digits of the unresolved configuration, without what is not identity."""
    plain = OmegaConf.to_container(cfg, resolve=False)
    assert isinstance(plain, dict)
    kept = parts(plain)
    if plain.get("ckpt") not in OWN_CHECKPOINTS:  # evaluating another run's checkpoint is a run of its own
        kept["ckpt"] = plain.get("ckpt")
    text = json.dumps(kept, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def run_name(cfg: DictConfig) -> str:
    """Return `<experiment or model>_<data>_s<seed>_<hash>` for a configuration that still has its Hydra node."""
    choices: dict[str, Any] = dict(OmegaConf.select(cfg, "hydra.runtime.choices") or {})
    parts = [choices.get("model"), choices.get("data"), f"s{cfg.get('seed')}", config_hash(cfg)]
    name = "_".join(str(part) for part in parts if part)
    experiment = choices.get("experiment")
    return f"{experiment}_{name}" if experiment else name
