"""Tables that a killed process leaves with whole rows: appended in one write, flushed to the disk."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from medreg.io.atomic import write_text


def append_rows(file: Path, header: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Append rows in one write, with the header if the file is new."""
    new = not file.exists() or file.stat().st_size == 0
    with file.open("a", encoding="utf-8") as stream:
        stream.write(_text(header, rows, headed=new))
        stream.flush()
        os.fsync(stream.fileno())


def read_rows(file: Path) -> list[dict[str, str]]:
    """Return the whole rows of a table; a last line that a killed process left unfinished is dropped."""
    if not file.exists():
        return []
    text = file.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    return list(csv.DictReader(io.StringIO(whole)))


def replace_rows(file: Path, header: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Rewrite a table in one step."""
    write_text(file, _text(header, rows, headed=True))


def _text(header: Sequence[str], rows: Iterable[Mapping[str, Any]], *, headed: bool) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, header, lineterminator="\n")
    if headed:
        writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()
