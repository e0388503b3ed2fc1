"""Tables that people read, written anew from what a store holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medreg.errors import DataError
from medreg.io.atomic import replacing

if TYPE_CHECKING:
    import pandas as pd


def write_csv(
    table: pd.DataFrame, file: Path, *, columns: Sequence[str] | None = None, digits: int | None = None
) -> Path:
    """Write a table as CSV, whole or not at all.

    Args:
        table: the rows.
        file: replaced.
        columns: which, and in what order; a column that no row has is empty. None takes all.
        digits: of numbers; None writes them in full.

    Raises:
        DataError: the file cannot be written.
    """
    shown = table if columns is None else table.reindex(columns=list(columns))
    form = None if digits is None else f"%.{digits}g"
    try:
        with replacing(file) as part:
            shown.to_csv(part, index=False, float_format=form, lineterminator="\n")
    except OSError as error:
        raise DataError(f"{file} cannot be written: {error.strerror or error}.") from error
    return file
