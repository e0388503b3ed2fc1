"""The last resort of every entry point: errors of Hydra, OmegaConf, YAML and the system as sentences."""

from __future__ import annotations

import json
import re
import zipfile
import zlib

import yaml
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from medreg.errors import MedregError
from medreg.io.faults import told


def sentence(error: BaseException) -> str | None:
    """Return what a person should read of an error, None where it is a defect of the program.

    Args:
        error: what left a command; the causes that it carries count, too.
    """
    seen: set[int] = set()
    cause: BaseException | None = error
    last: str | None = None
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if isinstance(cause, MedregError):
            return str(cause)
        last = _foreign(cause) or last
        cause = cause.__cause__
    return last


def _foreign(error: BaseException) -> str | None:
    if isinstance(error, OSError):
        return told(error)
    if isinstance(error, RuntimeError) and "home directory" in str(error):
        return (
            "There is no home folder here: set HOME, or MEDREG_CACHE and MEDREG_OUTPUTS to folders of yours."
        )
    if isinstance(
        error, json.JSONDecodeError | UnicodeDecodeError | zipfile.BadZipFile | zlib.error | EOFError
    ):
        return f"A file that this command reads is damaged, or of another kind than it is taken for: {error}."
    if isinstance(error, MemoryError):
        return "There is too little memory for this. Use smaller images or batches, or fewer workers."
    if isinstance(error, yaml.YAMLError):
        return _broken_yaml(error)
    if isinstance(error, OmegaConfBaseException):
        return _of_omegaconf(error)
    absent = re.search(r"In '([^']+)': Could not override '([^'@]+)", str(error))
    if isinstance(error, HydraException) and absent is not None:
        return _apart(absent[2], f"{absent[1]} sets it")
    if isinstance(error, HydraException):
        return f"The options cannot be composed: {_first_lines(str(error))} `medreg show` lists every option."
    return None


def _broken_yaml(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f"{mark.name}, line {mark.line + 1}" if mark is not None else "A YAML file"
    reason = getattr(error, "problem", None) or _first_lines(str(error))
    return f"{where} is not valid YAML: {reason}. Mend the file."


def _of_omegaconf(error: OmegaConfBaseException) -> str:
    missing = re.match(r"Interpolation key '([^']+)' not found", str(error))
    if missing is not None:
        key = re.search(r"full_key: (\S+)", str(error))
        who = f"{key[1]} asks for it" if key else "another option asks for it"
        return _apart(missing[1], who)
    reason = _first_lines(str(error))
    key = getattr(error, "full_key", None)
    return f"{f'{key}: ' if key else ''}{reason} `medreg show` lists every option with its value."


def _apart(part: str, who: str) -> str:
    """Say that options are of different kinds of work."""
    choose = (
        "Choose data of the model's kind; `medreg list` says beside each model which data it needs."
        if part.startswith("data.")
        else "Choose a model and a task of one kind; `medreg list` shows them."
    )
    return (
        f"There is no {part} in this composition, and {who}: these options do not belong together. {choose}"
    )


def _first_lines(text: str) -> str:
    """Return the first lines of a message as one, without the locations that OmegaConf appends."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    kept = [line for line in lines if not re.match(r"(full_key|object_type|reference_type)[:=]", line)][:3]
    joined = " ".join(kept) or text
    return joined if joined.endswith((".", "!", "?")) else f"{joined}."
