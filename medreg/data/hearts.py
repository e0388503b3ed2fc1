"""Hearts as items: the label maps of one person at one visit, in their order in time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from medreg.data.loading import stamp
from medreg.data.records import Item, Record

PHASES = ("ED", "ES")


@dataclass(frozen=True)
class Heart(Item):
    """One person's heart over the cycle.

    Attributes:
        id: name of the case in tables.
        subject: the person.
        frames: files in their order in time; a single one may hold all frames.
        visit: number of the visit, from the data set.
        later: the same person at a later visit.
    """

    id: str
    subject: str
    frames: tuple[Record, ...]
    visit: int
    later: Heart | None = None

    @property
    def parts(self) -> Mapping[str, Record]:
        """The files by their number, then those of the later visit."""
        own = {f"{number}_": record for number, record in enumerate(self.frames)}
        return (
            own if self.later is None else {**own, **{f"later_{k}": r for k, r in self.later.parts.items()}}
        )

    @property
    def phases_only(self) -> bool:
        """Whether the data set holds ED and ES alone."""
        return len(self.frames) > 1 and all(record.phase in PHASES for record in self.frames)


def hearts_of(records: Sequence[Record]) -> list[Heart]:
    """Return the hearts of some label maps: those of one person, visit and contrast; in the order of the records."""
    groups: dict[tuple[str, int, str], list[Record]] = {}
    for record in records:
        if record.label is not None:
            groups.setdefault((record.subject, record.visit or 1, record.modality), []).append(record)
    found = []
    for (subject, visit, modality), group in groups.items():
        name = "_".join(part for part in (subject, modality) if part).replace(" ", "-")
        if any(record.visit is not None for record in group) and visit != 1:
            name += f"_v{visit}"
        found.append(Heart(name, subject, tuple(sorted(group, key=_in_time)), visit))
    return found


def with_later(hearts: Sequence[Heart]) -> list[Heart]:
    """Return the hearts of first visits, each with that of the next visit where there is one."""
    by_subject: dict[str, list[Heart]] = {}
    for heart in hearts:
        by_subject.setdefault(heart.subject, []).append(heart)
    ordered = [sorted(found, key=lambda heart: heart.visit) for found in by_subject.values()]
    return [replace(found[0], later=found[1] if len(found) > 1 else None) for found in ordered]


def first_visits(hearts: Sequence[Heart]) -> list[Heart]:
    """Return the hearts of the first visits."""
    return [replace(heart, later=None) for heart in with_later(hearts)]


def heart_item(heart: Heart) -> dict[str, Any]:
    """Return the plain description of a heart that is loaded and that keys the cache."""
    item: dict[str, Any] = {"id": heart.id, "phases_only": heart.phases_only}
    item["image"] = item["image_name"] = heart.id  # what messages name
    item["frames"] = len(heart.frames)
    for number, record in enumerate(heart.frames):
        assert record.label is not None
        name = record.describe(record.label)
        item[f"file{number}"] = str(record.label)
        item[f"file{number}_name"] = name
        item[f"file{number}_stamp"] = stamp(record.label, name)
        item[f"frame{number}"] = record.label_frame
        item[f"position{number}"] = record.position
        if record.stated is not None:
            item[f"stated{number}"] = [*record.stated.spacing_mm, record.stated.axes]
    return item


def _in_time(record: Record) -> tuple[int, int]:
    """ED before ES wherever they lie in the cine, else by the place in it."""
    if record.phase in PHASES:
        return PHASES.index(record.phase), 0
    return len(PHASES), -1 if record.position is None else record.position
