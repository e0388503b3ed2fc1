"""Tables that come with data: CSV files with a header, as people and spreadsheets write them."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Sequence
from pathlib import Path

from medreg.errors import DataError

SEPARATORS = (",", ";", "\t")
MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def read_rows(file: Path, *needed: str, allowed: Sequence[str] = ()) -> list[dict[str, str]]:
    """Return the rows of a CSV; blanks around names and cells are removed, empty lines are left out.

    Args:
        file: the CSV, UTF-8 or, with a byte-order mark, UTF-16; commas, semicolons or tabs, as its header has them.
        *needed: columns that it must have.
        allowed: columns that it may have, all of them present in the result; empty for any.

    Raises:
        DataError: it cannot be read, a needed column is missing, one is not allowed or occurs twice, or a row has
            another number of cells than the header.
    """
    separator, lines = _parsed(file, needed)
    columns = lines[0][1] if lines else []
    _check_columns(file, columns, needed, allowed)
    return [
        {**dict.fromkeys(allowed, ""), **_row(file, number, cells, columns, separator)}
        for number, cells in lines[1:]
        if any(cells)
    ]


def read_text(file: Path) -> str:
    """Return the text of a table.

    Raises:
        DataError: it is neither UTF-8 nor UTF-16 with a byte-order mark, or cannot be read.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}.") from error
    encoding = next((name for mark, name in MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(
            f"{file} is not {encoding.removesuffix('-sig').upper()} text (line {line}); it may be Latin-1, from an "
            "older spreadsheet, or no table. Save it as CSV in UTF-8."
        ) from error
    if "\0" in text:
        raise DataError(f"{file} is no text, or UTF-16 without a byte-order mark. Save it as CSV in UTF-8.")
    return text


def _parsed(file: Path, needed: Sequence[str]) -> tuple[str, list[tuple[int, list[str]]]]:
    """Return the separator and, by line number, the cells of every line that is not empty."""
    text = read_text(file)
    first = text.lstrip("\r\n").split("\n", 1)[0]
    fitting = [mark for mark in SEPARATORS if set(needed) <= set(_cells(first, mark))]
    # A header of one column fits every separator; of two that fit none is wrong.
    separator = fitting[0] if fitting else max(SEPARATORS, key=first.count)
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True
    )
    lines = []
    try:
        for cells in reader:
            if cells:
                lines.append((reader.line_num, [cell.strip() for cell in cells]))
    except csv.Error as error:
        raise DataError(
            f"{file} cannot be read at line {reader.line_num}: {error}. Mend its quotes."
        ) from error
    return separator, lines


def _cells(line: str, separator: str) -> list[str]:
    return [cell.strip().strip('"').strip() for cell in line.split(separator)]


def _check_columns(file: Path, columns: list[str], needed: Sequence[str], allowed: Sequence[str]) -> None:
    unknown = sorted(set(columns) - set(allowed)) if allowed else []
    if unknown or not set(needed) <= set(columns):
        has = ", ".join(name or "an unnamed one" for name in columns) or "none: it is empty"
        raise DataError(
            f"{file} needs the columns {' and '.join(needed)}"
            + (f" and has the unknown {', '.join(unknown)}" if unknown else f"; it has {has}")
            + (f"; allowed are {', '.join(allowed)}." if allowed else ".")
        )
    named = [name for name in columns if name]
    twice = sorted({name for name in named if named.count(name) > 1})
    if twice:
        raise DataError(f"{file} has the column {twice[0]!r} twice; which one counts? Leave one out.")


def _row(file: Path, line: int, cells: list[str], columns: list[str], separator: str) -> dict[str, str]:
    """Cells by column; blank cells beyond the header, as spreadsheets write them, are left out."""
    while len(cells) > len(columns) and not cells[-1]:
        cells = cells[:-1]
    if len(cells) != len(columns):
        raise DataError(
            f"{file}: line {line} has {len(cells)} cells but the header has {len(columns)}. Is the file cut off, a "
            f"name with {'a tab' if separator == chr(9) else repr(separator)} not in quotes, or a separator missing?"
        )
    return dict(zip(columns, cells, strict=True))
