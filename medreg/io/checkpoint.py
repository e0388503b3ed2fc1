"""Find, read and apply checkpoints; nothing in a file is executed."""

from __future__ import annotations

import logging
import pickle
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medreg.errors import CheckpointError

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger("medreg")
FOLDER = "checkpoints"
FILES = {"best": "best.ckpt", "last": "last.ckpt", "previous": "previous.ckpt"}
ORDER = {"best": ("best", "last", "previous"), "last": ("last", "previous")}  # what stands in for what
RESUMABLE = ("optimizer_states", "loops", "epoch", "global_step", "pytorch-lightning_version")


def find(spec: str, folder: Path, *, inside: str = "best") -> Path | None:
    """Return the file that `best`, `last` or a path means; None where the run has no such checkpoint yet.

    Args:
        spec: `best` (falls back on last), `last` (falls back on the one before), or the path of a checkpoint or of
            a run folder.
        folder: run folder for `best` and `last`.
        inside: which checkpoint a run folder stands for: `best`, or `last` to resume.

    Raises:
        CheckpointError: a path that does not exist, or a run folder without checkpoints.
    """
    if spec in ORDER:
        return next(iter(_present(spec, folder)), None)
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


def _present(spec: str, folder: Path) -> list[Path]:
    files = [folder / FOLDER / FILES[name] for name in ORDER[spec]]
    return [file for file in files if file.is_file()]


def find_resumable(spec: str, folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """Return the checkpoint that a training goes on from, with its content; None where there is none yet.

    A damaged `last` is told, and the one before is taken.

    Args:
        spec: `last`, or the path of a checkpoint or run folder.
        folder: run folder for `last`.

    Raises:
        CheckpointError: nothing at a path, no readable checkpoint, or one that holds weights only.
    """
    if spec != "last":
        file = find(spec, folder, inside="last")
        assert file is not None  # a path that leads nowhere was refused
        return file, _resumable(file, read(file))
    broken: CheckpointError | None = None
    for file in _present("last", folder):
        try:
            content = read(file)
        except CheckpointError as error:
            broken = broken or error
            log.warning("%s", error)
            continue
        if broken is not None:
            log.warning("Going on from the checkpoint before it, %s.", file)
        return file, _resumable(file, content)
    if broken is not None:
        raise broken
    return None


def _resumable(file: Path, content: dict[str, Any]) -> dict[str, Any]:
    if not all(key in content for key in RESUMABLE):
        raise CheckpointError(
            f"resume={file} holds weights only, so training cannot continue from it. Resume from last.ckpt, "
            "or start from its weights with init=PATH."
        )
    return content


def _verify(path: Path) -> None:
    """Compare every part of the archive with its check sum, which torch does not.

    Raises:
        CheckpointError: a byte differs from what was written.
    """
    if not zipfile.is_zipfile(path):
        return  # torch says what is wrong with it
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError) as error:
        damaged = str(error)
    if damaged is not None:
        raise CheckpointError(
            f"The checkpoint {path} is damaged: bytes differ from those that were written ({damaged}). Look after "
            "the disk, and take another one (ckpt=last, resume=PATH, resume=never)."
        )


def read(path: Path) -> dict[str, Any]:
    """Load a checkpoint with `weights_only=True`, after its check sums were compared.

    Raises:
        CheckpointError: truncated, damaged, not a checkpoint, or holding objects other than tensors and plain values.
    """
    import torch

    try:
        _verify(path)
    except OSError as error:
        raise CheckpointError(f"Cannot read the checkpoint {path} ({error.strerror or error}).") from error
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
    model.load_state_dict(fitting_weights(model, path, content))
    return content


def fitting_weights(model: nn.Module, path: Path, content: dict[str, Any]) -> dict[str, Any]:
    """Return the weights of a checkpoint for a model.

    Raises:
        CheckpointError: the checkpoint was made by another model; the message says by which options.
    """
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
    return weights
