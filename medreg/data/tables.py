"""Tables that come with data: CSV files with a header."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from medreg.errors import DataError


def read_rows(file: Path, *needed: str, allowed: Sequence[str] = ()) -> list[dict[str, str]]:
    """Return the rows of a CSV; blanks around names and cells are removed, missing cells are empty.

    Args:
        file: the CSV, UTF-8, with or without a byte-order mark.
        *needed: columns that it must have.
        allowed: columns that it may have, all of them present in the result; empty for any.

    Raises:
        DataError: a needed column is missing, or one is not allowed.
    """
    reader = csv.DictReader(file.read_text(encoding="utf-8-sig").splitlines(), skipinitialspace=True)
    columns = [name.strip() for name in reader.fieldnames or ()]
    unknown = sorted(set(columns) - set(allowed)) if allowed else []
    if unknown or not set(needed) <= set(columns):
        raise DataError(
            f"{file} needs the columns {' and '.join(needed)}"
            + (f" and has the unknown {', '.join(unknown)}" if unknown else f"; it has {', '.join(columns)}")
            + (f"; allowed are {', '.join(allowed)}." if allowed else ".")
        )
    reader.fieldnames = columns
    return [{name: (row.get(name) or "").strip() for name in (*columns, *allowed)} for row in reader]
