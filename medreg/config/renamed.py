"""Options that had another name in earlier versions, so that run folders of these can still be used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TASK = {
    "weight": "smoothness",
    "label_weights": "label_smoothness",
    "weight_file": "smoothness_file",
    "weights": "draws",
    "validation_weights": "validation_smoothness",
}
MODEL = {"weight_range": "smoothness_range", "weight": "smoothness"}  # of conditional models


def name_of_today(key: str) -> str | None:
    """Return what an option is called now, None where it never had another name."""
    node, _, rest = key.partition(".")
    word, dot, more = rest.partition(".")
    found = {"task": TASK, "model": MODEL}.get(node, {}).get(word)
    return None if found is None else f"{node}.{found}{dot}{more}"


def with_names_of_today(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of a run with the options of conditional models as they are called now."""
    model, task = (config.get(node) or {} for node in ("model", "task"))
    if "weight_range" not in model and "weights" not in task:
        return dict(config)
    return {
        **config,
        "task": {TASK.get(key, key): value for key, value in task.items()},
        "model": {MODEL.get(key, key): value for key, value in model.items()}
        if "weight_range" in model
        else model,
    }
