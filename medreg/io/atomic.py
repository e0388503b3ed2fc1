"""Files that are whole or not there: written beside their place, flushed to the disk, then renamed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a path to write to; it takes the place of `target` when the block ends well, and is removed otherwise.

    Args:
        target: the file; its folder is made if need be.

    Raises:
        OSError: it cannot be written; the error names `target`, and what was there stays.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    # The process in the name: two writers must not share a half-written file. The suffix stays the last word,
    # because writers of images and arrays choose the format by it.
    part = target.with_name(f".{target.name.split('.')[0]}.{os.getpid()}.part{''.join(target.suffixes)}")
    try:
        yield part
        with part.open("rb") as stream:
            os.fsync(stream.fileno())
        part.replace(target)
    except OSError as error:  # a full disk names no file, and nobody knows the name of the part
        if error.errno is not None and error.filename in (None, str(part), part):
            error.filename = str(target)
        raise
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def write_text(target: Path, text: str) -> Path:
    """Write a UTF-8 text whole or not at all; return its path."""
    with replacing(target) as part:
        part.write_text(text, encoding="utf-8")
    return target


def write_json(target: Path, content: Any, *, indent: int | None = 2) -> Path:
    """Write plain values as JSON whole or not at all; what JSON does not know is written as text."""
    return write_text(target, json.dumps(content, indent=indent, default=str, ensure_ascii=False) + "\n")


def read_json(file: Path) -> Any:
    """Return the content of a JSON file, None where it is missing or damaged."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError):
        return None
