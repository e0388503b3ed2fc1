"""Short names for what determines a result."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

DIGITS = 16


def digest_of(*parts: Any) -> str:
    """Return 16 hexadecimal digits of plain values; the order of the keys of a mapping does not count."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def digest_of_file(file: Path) -> str:
    """Return 16 hexadecimal digits of the content of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:DIGITS]


def digest_of_array(array: np.ndarray) -> str:
    """Return 16 hexadecimal digits of shape, type and values."""
    found = hashlib.sha256(f"{array.shape} {array.dtype}".encode())
    found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()[:DIGITS]
