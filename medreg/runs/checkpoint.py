"""The three uses of a checkpoint, and the model that one holds; nothing in a file is executed.

*Resume* (`resume=`) continues a run's own training with optimiser and loops, *evaluate* (`ckpt=`) and *warm start*
(`init=`) take weights only.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from medreg.config.instantiate import build
from medreg.errors import CheckpointError
from medreg.io.checkpoint import FILES, FOLDER, apply_weights, find, read

if TYPE_CHECKING:
    from torch import nn

__all__ = ["FILES", "FOLDER", "apply_weights", "find", "load_model", "read"]


def load_model(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    """Rebuild the model of a checkpoint or run folder, with its weights, in evaluation mode.

    Returns:
        The model and the resolved configuration that the checkpoint carries.

    Raises:
        CheckpointError: unreadable, or without a configuration.
        ConfigError: the configuration names a class outside the allowed packages; nothing is executed.
    """
    file = find(str(path), path)
    assert file is not None
    content = read(file)
    config = content.get("medreg", {}).get("config")
    if not isinstance(config, dict) or "model" not in config:
        raise CheckpointError(
            f"{file} carries no configuration, so its model cannot be rebuilt; "
            "it was not saved by a medreg run."
        )
    model = build(config["model"])
    apply_weights(model, file, content=content)
    return model.eval(), config
