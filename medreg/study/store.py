"""The one resumable store: a line of JSON a unit, appended whole, so that a unit has all of its rows or none.

Several processes may add to a store at once. The last line of a key counts. A line that a killed process or a full disk
cut short is passed over, and the unit is done again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medreg.errors import DataError
from medreg.io.atomic import replacing
from medreg.io.lock import exclusive
from medreg.study.unit import Outcome, Unit, key_id

if TYPE_CHECKING:
    import pandas as pd


class Store:
    """Outcomes of the units of one study.

    Args:
        file: `*.jsonl`; made with the first outcome.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._known: dict[str, Outcome] = {}
        self._read_to, self._inode = 0, -1
        self.refresh()

    def __iter__(self) -> Iterator[Outcome]:
        """Yield the last outcome of every key, in the order in which the keys came first."""
        return iter(tuple(self._known.values()))

    def __len__(self) -> int:
        return len(self._known)

    def get(self, unit: Unit) -> Outcome | None:
        """Return the outcome of a unit, None where it is missing, stale or has lost its files."""
        found = self.any(unit)
        if found is None or found.digest != unit.digest:
            return None
        return found if found.failed or all(file.is_file() for file in unit.files) else None

    def any(self, unit: Unit) -> Outcome | None:
        """Return the last outcome of a unit's key, whatever determined it."""
        return self._known.get(unit.id)

    def stale(self, units: Sequence[Unit]) -> list[Unit]:
        """Return the units whose last outcome was determined by something else than today."""
        return [unit for unit in units if (old := self.any(unit)) is not None and old.digest != unit.digest]

    def add(self, outcome: Outcome) -> None:
        """Append an outcome in one write, flushed to the disk.

        Raises:
            DataError: the file cannot be written; what it held stays.
        """
        text = _line(outcome)
        try:
            with exclusive(self._lock), self.file.open("ab", buffering=0) as stream:
                start = stream.tell()
                if start and not self._ends_whole():
                    text = b"\n" + text  # a cut line before this one must not swallow it
                try:
                    while text:  # a disk that fills up takes a part first
                        text = text[stream.write(text) :]
                    os.fsync(stream.fileno())
                except OSError:
                    stream.truncate(start)
                    raise
        except OSError as error:
            raise DataError(f"{self.file} cannot be written: {error.strerror or error}.") from error
        self.refresh()

    def frame(self, units: Sequence[Unit] | None = None) -> pd.DataFrame:
        """Return the rows of all units that are done as one table: the columns of the key, then those of the rows.

        Args:
            units: take these only, and only where they are not stale; None takes everything.
        """
        import pandas as pd

        chosen = list(self) if units is None else [found for unit in units if (found := self.get(unit))]
        return pd.DataFrame([{**found.key, **row} for found in chosen for row in found.rows])

    def compact(self, keep: Callable[[Outcome], bool] | None = None) -> int:
        """Rewrite the file with the last outcome of each key only.

        Args:
            keep: says which of them stay; None keeps all.

        Returns:
            Number of outcomes that went.
        """
        if not self.file.is_file():
            return 0
        with exclusive(self._lock):
            self.refresh()
            kept = [found for found in self if keep is None or keep(found)]
            gone = len(self) - len(kept)
            with replacing(self.file) as part:
                part.write_bytes(b"".join(map(_line, kept)))
        self.refresh()
        return gone

    def refresh(self) -> None:
        """Read what has been added since, by this process or another."""
        try:
            with self.file.open("rb") as stream:
                state = os.fstat(stream.fileno())
                if state.st_ino != self._inode or state.st_size < self._read_to:  # rewritten
                    self._forget()
                    self._inode = state.st_ino
                stream.seek(self._read_to)
                text = stream.read()
        except FileNotFoundError:
            self._forget()
            return
        whole = text[: text.rfind(b"\n") + 1]
        self._read_to += len(whole)
        for line in whole.splitlines():
            found = _outcome(line)
            if found is not None:
                self._known[key_id(found.key)] = found

    @property
    def _lock(self) -> Path:
        return self.file.with_suffix(".lock")

    def _forget(self) -> None:
        self._known, self._read_to, self._inode = {}, 0, -1

    def _ends_whole(self) -> bool:
        with self.file.open("rb") as stream:
            stream.seek(-1, os.SEEK_END)
            return stream.read(1) == b"\n"


def _line(outcome: Outcome) -> bytes:
    return json.dumps(asdict(outcome), default=_plain, ensure_ascii=False).encode() + b"\n"


def _outcome(line: bytes) -> Outcome | None:
    try:
        found = Outcome(**json.loads(line))
    except (ValueError, TypeError):
        return None
    return found if isinstance(found.key, dict) else None


def _plain(value: Any) -> Any:
    """Return numbers of numpy and torch as Python's, other mappings as a dict, everything else as text."""
    if isinstance(value, Mapping):
        return dict(value)
    return value.item() if hasattr(value, "item") else str(value)
