"""Find, read and apply checkpoints; nothing in a file is executed."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medreg.errors import CheckpointError

if TYPE_CHECKING:
    from torch import nn

FOLDER = "checkpoints"
FILES = {"best": "best.ckpt", "last": "last.ckpt"}


def find(spec: str, folder: Path, *, inside: str = "best") -> Path | None:
    """Return the file that `best`, `last` or a path means; None where the run has no such checkpoint yet.

    Args:
        spec: `best` (falls back on last), `last`, or the path of a checkpoint or of a run folder.
        folder: run folder for `best` and `last`.
        inside: which checkpoint a run folder stands for: `best`, or `last` to resume.

    Raises:
        CheckpointError: a path that does not exist, or a run folder without checkpoints.
    """
    if spec in FILES:
        names = ("best", "last") if spec == "best" else ("last",)
        files = [folder / FOLDER / FILES[name] for name in names]
        return next((file for file in files if file.is_file()), None)
    path = Path(spec).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        found = find(inside, path)
        if found is not None:
            return found
        raise CheckpointError(
            f"The run folder {path} holds no checkpoint in {path / FOLDER}: its training never ended an epoch."
        )
    raise CheckpointError(f"No checkpoint at {path}. Give best, last, a .ckpt file or a run folder.")


def read(path: Path) -> dict[str, Any]:
    """Load a checkpoint with `weights_only=True`.

    Raises:
        CheckpointError: truncated, not a checkpoint, or holding objects other than tensors and plain values.
    """
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # torch's own words advise to load it all the same
        raise CheckpointError(
            f"Cannot read the checkpoint {path}: it is damaged, or holds objects besides tensors and plain values, "
            "which no checkpoint of medreg does and which could run code. Take another one."
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"Cannot read the checkpoint {path} ({reason}). If a disk filled up or a copy was cut short, "
            "take another one (ckpt=last, resume=never)."
        ) from error
    if not isinstance(content, dict) or "state_dict" not in content:
        raise CheckpointError(f"{path} is not a medreg checkpoint: it has no state_dict.")
    return content


def _differences(wanted: set[str], found: set[str]) -> str:
    missing, surplus = sorted(wanted - found), sorted(found - wanted)
    parts = []
    if missing:
        parts.append(f"lacks {', '.join(missing[:3])}{' …' if len(missing) > 3 else ''}")
    if surplus:
        parts.append(f"has {', '.join(surplus[:3])}{' …' if len(surplus) > 3 else ''} besides")
    return " and ".join(parts)


def apply_weights(model: nn.Module, path: Path, *, content: dict[str, Any] | None = None) -> dict[str, Any]:
    """Load the weights of a checkpoint into a model, strictly, and return the checkpoint's content.

    Raises:
        CheckpointError: the checkpoint was made by another model; the message says by which options.
    """
    content = content or read(path)
    weights = {
        key.removeprefix("model."): value
        for key, value in content["state_dict"].items()
        if key.startswith("model.")
    }
    own = model.state_dict()
    made_by = " ".join(content.get("medreg", {}).get("overrides", []))
    hint = f" It was made with: {made_by or 'the default options'}."
    if set(own) != set(weights):
        raise CheckpointError(
            f"{path} does not fit this model: it {_differences(set(own), set(weights))}.{hint}"
        )
    for key, value in own.items():
        if value.shape != weights[key].shape:
            raise CheckpointError(
                f"{path} does not fit this model: {key} is {tuple(weights[key].shape)} there "
                f"and {tuple(value.shape)} here.{hint}"
            )
    model.load_state_dict(weights)
    return content
