"""Append rows to a CSV so that a killed process leaves whole rows: one write, flushed to the disk, a case."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path


def append_rows(file: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Append rows in one write, with the header if the file is new."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    if not file.exists() or file.stat().st_size == 0:
        writer.writerow(header)
    writer.writerows(rows)
    with file.open("a", encoding="utf-8") as stream:
        stream.write(buffer.getvalue())
        stream.flush()
        os.fsync(stream.fileno())


def read_rows(file: Path) -> list[dict[str, str]]:
    """Return the whole rows of a table; a last line that a killed process left unfinished is dropped."""
    if not file.exists():
        return []
    text = file.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    return list(csv.DictReader(io.StringIO(whole)))


def replace_rows(file: Path, header: Sequence[str], rows: Iterable[dict[str, str]]) -> None:
    """Rewrite a table in one step."""
    part = file.with_suffix(".part")
    with part.open("w", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, header, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(file)
