"""The measurements as a tidy table: one number a row, with everything that one must know about it."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from experiments.performance.machine import now

FILE, STATE = "bench.csv", "state.json"


@dataclass(frozen=True)
class Row:
    """One measured number.

    Attributes:
        section: operators, steps, evaluation, loop or scaling; floors for the machine.
        item: operator, network or part of the loop.
        size: batch and shape as on the command line.
        contender: package.
        mode: forward, forward+backward, step, …
        quantity: wall_s (median), wall_min_s, cpu_s, cpu_min_s, ratio (ours over theirs), memory_mib, …
        value: the number; NaN with a note where there is none.
        low: lower end of the 95 % interval, if there is one.
        high: its upper end.
        version: of the contender.
        note: what limits the number.
    """

    section: str
    item: str
    size: str
    contender: str
    mode: str
    quantity: str
    value: float
    low: float | None = None
    high: float | None = None
    version: str = ""
    note: str = ""


HEADER = tuple(field.name for field in fields(Row))


class Table:
    """`bench.csv` in a folder; every row is on disk as soon as it is measured.

    A section that was interrupted goes on where it stopped if its settings are the same; otherwise, and when
    it had finished, its old rows move to `bench.<date>.csv` and it starts anew.

    Args:
        folder: made if it does not exist.
        facts: hardware, threads and versions, columns of every row.
    """

    def __init__(self, folder: Path, *, facts: Mapping[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.file = folder, folder / FILE
        self.facts = dict(facts)
        self.header = (*HEADER, "date", "load", *self.facts)

    def begin(self, section: str, settings: Mapping[str, Any]) -> None:
        """Continue an interrupted section, or set its old rows aside."""
        state = self._state()
        known = state.get(section, {})
        wanted = json.loads(json.dumps({**settings, **self.facts}))
        if known.get("finished", True) or known.get("settings") != wanted:
            self._set_aside(section)
        self._write_state({**state, section: {"settings": wanted, "finished": False}})

    def finish(self, section: str) -> None:
        """Mark a section as complete."""
        state = self._state()
        self._write_state({**state, section: {**state[section], "finished": True}})

    def has(self, section: str, item: str, size: str, mode: str) -> bool:
        """Whether the rows of this measurement are there already."""
        wanted = {"section": section, "item": item, "size": size, "mode": mode}
        return any(all(row[key] == value for key, value in wanted.items()) for row in self.rows())

    def add(self, rows: Iterable[Row]) -> None:
        """Append rows in one write, flushed to the disk."""
        moment, buffer = now(), io.StringIO()
        writer = csv.DictWriter(buffer, self.header, lineterminator="\n")
        if not self.file.exists():
            writer.writeheader()
        writer.writerows({**asdict(row), **moment, **self.facts} for row in rows)
        with self.file.open("a", encoding="utf-8") as stream:
            stream.write(buffer.getvalue())
            stream.flush()
            os.fsync(stream.fileno())

    def rows(self) -> list[dict[str, str]]:
        """All whole rows so far."""
        if not self.file.exists():
            return []
        text = self.file.read_text(encoding="utf-8")
        return list(csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1])))

    def _set_aside(self, section: str) -> None:
        rows = self.rows()
        old = [row for row in rows if row["section"] == section]
        if old:
            stamp = old[0]["date"].replace(" ", "_").replace(":", "-")
            self._write(self.folder / f"bench.{section}.{stamp}.csv", old)
            self._write(self.file, [row for row in rows if row["section"] != section])

    def _write(self, file: Path, rows: list[dict[str, str]]) -> None:
        part = file.with_suffix(".part")
        with part.open("w", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, self.header, lineterminator="\n", extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
        part.replace(file)

    def _state(self) -> dict[str, Any]:
        file = self.folder / STATE
        return json.loads(file.read_text()) if file.exists() else {}

    def _write_state(self, state: Mapping[str, Any]) -> None:
        part = self.folder / f"{STATE}.part"
        part.write_text(json.dumps(state, indent=2))
        part.replace(self.folder / STATE)
