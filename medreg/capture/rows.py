"""Tables that grow while a capture range runs, and that the same command continues."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medreg.errors import DataError

STARTS = (
    "measure", "title", "digest", "rate", "family", "low", "high", "case", "draw",
    "start", "final", "energy_start", "energy_final", "inside", "cpu_seconds",
)  # fmt: skip
LANDSCAPES = ("measure", "title", "digest", "family", "value", "case", "energy")
RATES = ("measure", "title", "digest", "rate", "starts", "successes", "mean_final", "chosen")


class Table:
    """A CSV file of rows that belong to a measure in one setting (its digest).

    Args:
        path: of the file.
        columns: its header.

    Raises:
        DataError: the file has another header.
    """

    def __init__(self, path: Path, *, columns: Sequence[str]) -> None:
        self.path, self.columns = path, tuple(columns)
        self.rows: list[dict[str, str]] = []
        if path.is_file():
            with path.open(encoding="utf-8", newline="") as file:
                reader = csv.DictReader(file)
                self.rows = [dict(row) for row in reader if None not in row.values()]
                header = tuple(reader.fieldnames or self.columns)
            if header != self.columns:
                raise DataError(
                    f"{path} has the columns {', '.join(header)}; it is of another version: move it away."
                )

    def done(self, measure: str, digest: str, **where: object) -> list[dict[str, str]]:
        """Rows of a measure in this setting with these values."""
        wanted = {"measure": measure, "digest": digest, **{key: str(value) for key, value in where.items()}}
        return [row for row in self.rows if all(row[key] == value for key, value in wanted.items())]

    def drop_stale(self, measure: str, digest: str) -> int:
        """Forget rows of the measure that other settings made; return how many."""
        kept = [row for row in self.rows if row["measure"] != measure or row["digest"] == digest]
        gone = len(self.rows) - len(kept)
        if gone:
            self.rows = kept
            self._write()
        return gone

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append rows and write the file, whole under another name first: a killed run loses none."""
        self.rows += [{key: str(row[key]) for key in self.columns} for row in rows]
        self._write()

    def _write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".part")
        with temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, self.columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
        temporary.replace(self.path)
