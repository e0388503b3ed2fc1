"""A unit of work, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from medreg.io.digest import digest_of

Row = Mapping[str, Any]  # plain values: text, numbers, booleans, None
State = Literal["done", "failed"]


@dataclass(frozen=True)
class Unit:
    """One piece of work of a study.

    Attributes:
        key: names the unit within its study, such as `{"method": "greedy", "case": "0001"}`; plain values.
        digest: of everything else that determines its rows: settings, versions, input. A unit whose digest changed
            is stale and is done again.
        files: what must lie on disk beside the rows for the unit to count as done.
    """

    key: Mapping[str, Any]
    digest: str = ""
    files: tuple[Path, ...] = ()

    @property
    def id(self) -> str:
        """Short name of the key."""
        return key_id(self.key)

    def __str__(self) -> str:
        return " ".join(str(value) for value in self.key.values())


@dataclass(frozen=True)
class Outcome:
    """What became of a unit.

    Attributes:
        key: of the unit.
        digest: of the unit when it was done.
        rows: what it found; empty after a failure.
        state: done or failed.
        error: why it failed, a sentence.
        cost: what it took, such as `{"seconds": 1.2, "cpu_seconds": 2.3}`.
    """

    key: Mapping[str, Any]
    digest: str
    rows: Sequence[Row] = ()
    state: State = "done"
    error: str = ""
    cost: Mapping[str, Any] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether there are no rows because something went wrong."""
        return self.state == "failed"


def key_id(key: Mapping[str, Any]) -> str:
    """Return a short name of a key, the same whatever the order of its parts."""
    return digest_of(dict(key))
