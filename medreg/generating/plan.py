"""What a command is going to make, with everything refused that can be refused before the model is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medreg.generating.heart import Heart


@dataclass(frozen=True, eq=False)
class Plan:
    """Hearts that are going to be made.

    Attributes:
        verb: "generate", "complete" or "age".
        names: of the hearts, in their order; each becomes a file.
        frames: of each.
        structures: structure → place in a shape.
        given: hearts of the user, which are measured beside those that are made.
        notes: what a person should know.
        record: what made.json says, beside the files.
        inputs: files that are read.
        make: makes them, one after the other.
    """

    verb: str
    names: Sequence[str]
    frames: int
    structures: Mapping[str, int]
    notes: Sequence[str]
    record: Mapping[str, Any]
    make: Callable[[], Iterator[Heart]]
    given: Sequence[Heart] = field(default=())
    inputs: Sequence[Path] = field(default=())
