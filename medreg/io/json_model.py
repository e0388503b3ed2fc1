"""JSON files that a person may have written: read as pydantic models, with one sentence for what is wrong."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from medreg.errors import DataError, MedregError

Model = TypeVar("Model")
UNKNOWN = ("unexpected_keyword_argument", "extra_forbidden")  # pydantic's names of a key that no field has


def read_object(path: str | Path) -> dict[str, Any]:
    """Read a JSON object; `NaN` and `Infinity`, which official files of Learn2Reg hold, are understood.

    Raises:
        DataError: missing file, invalid JSON, or not an object.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}. Check the path.") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} holds no JSON object; is it the right file?")
    return content


def checked(
    model: type[Model] | TypeAdapter[Model],
    content: Any,
    where: str | Path,
    *,
    error: type[MedregError] = DataError,
) -> Model:
    """Return plain content as a model.

    Args:
        model: a pydantic model, a pydantic dataclass, or an adapter of one.
        content: what a file holds.
        where: the file, or another name of the place, for the message.
        error: kind of the error that is raised.

    Raises:
        MedregError: of that kind; the sentence names the place, the key and what is wrong.
    """
    adapter = model if isinstance(model, TypeAdapter) else TypeAdapter(model)
    try:
        return adapter.validate_python(content)
    except ValidationError as found:
        raise error(f"{where}: {_sentence(found, model)}") from found


def _sentence(error: ValidationError, model: Any) -> str:
    """Say what is wrong first, unknown keys before what is missing for them, and in how many places more."""
    first, *others = sorted(error.errors(include_url=False), key=lambda found: found["type"] not in UNKNOWN)
    key = ".".join(map(str, first["loc"]))
    text = first["msg"].removeprefix("Value error, ").rstrip(".")
    if first["type"] in UNKNOWN:
        known = ", ".join(each.name for each in fields(model)) if is_dataclass(model) else ""
        text = f"unknown key{f'; known are {known}' if known else ''}"
    elif isinstance(first["input"], str | int | float) and first["type"] != "value_error":
        text += f", not {first['input']!r}"
    more = f" ({len(others)} more)" if others else ""
    return f"{f'{key}: ' if key else ''}{text}{more}."
