"""The measurements as a tidy table: one number a row, with everything that one must know about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.performance.machine import now
from medreg.io.digest import digest_of
from medreg.study.store import Store
from medreg.study.unit import Outcome, Unit
from medreg.study.view import write_csv

FILE, STORE = "bench.csv", "bench.jsonl"
IDENTITY = ("section", "item", "size", "contender", "mode", "quantity", "note")


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


class Measurements:
    """What was measured in a folder: a store, and `bench.csv` made from it after every measurement.

    A section that was interrupted goes on where it stopped if its settings are the same; otherwise, and when
    it had finished, its old rows move to `bench.<section>.<date>.csv` and it starts anew.

    Args:
        folder: made if it does not exist.
        facts: hardware, threads and versions, columns of every row.
    """

    def __init__(self, folder: Path, *, facts: Mapping[str, str]) -> None:
        self.folder, self.file = folder, folder / FILE
        self.facts = dict(facts)
        self.header = (*HEADER, "date", "load", *self.facts)
        self.store = Store(folder / STORE)
        if self.file.is_file() and not len(self.store):  # of a version without a store
            self.file.replace(folder / "bench.earlier.csv")

    def begin(self, section: str, settings: Mapping[str, Any]) -> None:
        """Continue an interrupted section, or set its old rows aside."""
        state = Unit({"section": section, "what": "state"}, digest_of(dict(settings), self.facts))
        found = self.store.get(state)
        if found is None or found.rows[0]["finished"]:
            self._set_aside(section)
            self.store.add(Outcome(state.key, state.digest, ({"finished": False},)))

    def finish(self, section: str) -> None:
        """Mark a section as complete."""
        found = self.store.any(Unit({"section": section, "what": "state"}))
        assert found is not None
        self.store.add(replace(found, rows=({"finished": True},)))

    def has(self, section: str, item: str, size: str, mode: str) -> bool:
        """Whether the rows of this measurement are there already."""
        wanted = {"section": section, "item": item, "size": size, "mode": mode}
        return any(all(row[key] == value for key, value in wanted.items()) for row in self.rows())

    def add(self, rows: Iterable[Row]) -> None:
        """Keep the rows of one measurement, all of them or none."""
        moment = now()
        found = [{**asdict(row), **moment, **self.facts} for row in rows]
        if found:
            what = digest_of([[row[name] for name in IDENTITY] for row in found])
            self.store.add(Outcome({"section": found[0]["section"], "what": what}, "", found))
            self._write(self.file, self.rows())

    def rows(self) -> list[Mapping[str, Any]]:
        """All rows so far."""
        return [row for found in self.store if found.key["what"] != "state" for row in found.rows]

    def _set_aside(self, section: str) -> None:
        old = [row for row in self.rows() if row["section"] == section]
        if old:
            stamp = str(old[0]["date"]).replace(" ", "_").replace(":", "-")
            self._write(self.folder / f"bench.{section}.{stamp}.csv", old)
            self.store.compact(lambda found: found.key["section"] != section)
            self._write(self.file, self.rows())

    def _write(self, file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
        write_csv(pd.DataFrame(rows), file, columns=self.header)
