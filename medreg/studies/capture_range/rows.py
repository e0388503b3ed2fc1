"""Tables that grow while a capture range runs, and that the same command continues."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medreg.errors import DataError
from medreg.io.lock import exclusive

STARTS = (
    "measure", "title", "digest", "rate", "family", "low", "high", "case", "draw",
    "start", "final", "energy_start", "energy_final", "inside", "cpu_seconds",
)  # fmt: skip
LANDSCAPES = ("measure", "title", "digest", "family", "value", "case", "energy")
RATES = ("measure", "title", "digest", "rate", "starts", "successes", "mean_final", "chosen")


class Table:
    """A CSV file of rows that belong to a measure in one setting (its digest); several processes may add to it.

    Args:
        path: of the file.
        columns: its header.

    Raises:
        DataError: the file has another header.
    """

    def __init__(self, path: Path, *, columns: Sequence[str]) -> None:
        self.path, self.columns = path, tuple(columns)
        self.rows = self._read()

    def done(self, measure: str, digest: str, **where: object) -> list[dict[str, str]]:
        """Rows of a measure in this setting with these values."""
        wanted = {"measure": measure, "digest": digest, **{key: str(value) for key, value in where.items()}}
        return [row for row in self.rows if all(row[key] == value for key, value in wanted.items())]

    def drop_stale(self, measure: str, digest: str) -> int:
        """Forget rows of the measure that other settings made; return how many."""
        with self._alone():
            kept = [row for row in self.rows if row["measure"] != measure or row["digest"] == digest]
            gone = len(self.rows) - len(kept)
            if gone:
                self.rows = kept
                self._write()
        return gone

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append rows and write the file, whole under another name first: a killed run loses none."""
        with self._alone():
            self.rows += [{key: str(row[key]) for key in self.columns} for row in rows]
            self._write()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let no other process write meanwhile, and begin with what the others have written."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(self.path.with_suffix(".lock")):
            self.rows = self._read()
            yield

    def _read(self) -> list[dict[str, str]]:
        if not self.path.is_file():
            return []
        with self.path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            rows = [dict(row) for row in reader if None not in row.values()]
            header = tuple(reader.fieldnames or self.columns)
        if header != self.columns:
            raise DataError(
                f"{self.path} has the columns {', '.join(header)}; it is of another version: move it away."
            )
        return rows

    def _write(self) -> None:
        temporary = self.path.with_suffix(".part")
        with temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, self.columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
        temporary.replace(self.path)
