"""Which image is registered to which."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medreg.data.records import Pair, Record
from medreg.errors import ConfigError, DataError


class Pairing(ABC):
    """Turns the records of one split into pairs."""

    @property
    def shared_subjects(self) -> frozenset[str]:
        """Subjects that belong to every split, such as an atlas."""
        return frozenset()

    @abstractmethod
    def pairs(self, records: Sequence[Record], *, listed: Sequence[Pair], training: bool) -> list[Pair]:
        """Return the pairs of one split, in a fixed order.

        Args:
            records: records whose subject belongs to the split, sorted.
            listed: pairs that the data set itself names for these subjects.
            training: whether the pairs are for training.
        """

    def draw(self, pair: Pair, records: Sequence[Record], generator: np.random.Generator) -> Pair:
        """Return the pair used at one access in training; schemes without chance return it unchanged."""
        return pair


@dataclass(frozen=True)
class IntraSubject(Pairing):
    """Images of the same person: two phases, two modalities, or all frames of a cine to one.

    Attributes:
        fixed_phase: phase of the fixed image, None for any.
        moving_phase: phase of the moving images; None takes every other image of the subject.
        fixed_modality: modality of the fixed image, None for any.
        moving_modality: modality of the moving images, None for any.
    """

    fixed_phase: str | None = None
    moving_phase: str | None = None
    fixed_modality: str | None = None
    moving_modality: str | None = None

    def pairs(self, records: Sequence[Record], *, listed: Sequence[Pair], training: bool) -> list[Pair]:
        """Return (fixed, moving) of every subject that has both."""
        out = []
        for group in by_subject(records).values():
            fixed = select(group, self.fixed_phase, self.fixed_modality)
            if len(fixed) > 1:
                raise ConfigError(
                    f"data.pairing does not pick one fixed image of {group[0].subject} "
                    f"({', '.join(record.id for record in fixed)}): set fixed_phase or fixed_modality."
                )
            moving = select(group, self.moving_phase, self.moving_modality)
            out += [Pair(fixed[0], record) for record in moving if fixed and record is not fixed[0]]
        return out


@dataclass(frozen=True)
class InterSubject(Pairing):
    """Pairs of different subjects.

    Attributes:
        scheme: pairs of training: "random" (every image is fixed once an epoch, its partner is drawn anew
            each time), "next" (i with i+1, the last with the first) or "all" ordered pairs.
        evaluation_scheme: "next" or "all", for validation and test.
        fixed_modality: modality of fixed images, None for any.
        moving_modality: modality of moving images.
        phase: phase of both, None for any.
        allow_self: "random" may draw the fixed image itself (GraDIRN's released code does).
    """

    scheme: str
    evaluation_scheme: str
    fixed_modality: str | None = None
    moving_modality: str | None = None
    phase: str | None = None
    allow_self: bool = False

    def __post_init__(self) -> None:
        if self.scheme not in ("random", "next", "all"):
            raise ConfigError(f"data.pairing.scheme is {self.scheme!r}; choose random, next or all.")
        if self.evaluation_scheme not in ("next", "all"):
            raise ConfigError(
                f"data.pairing.evaluation_scheme is {self.evaluation_scheme!r}; choose next or all."
            )

    def pairs(self, records: Sequence[Record], *, listed: Sequence[Pair], training: bool) -> list[Pair]:
        """Return pairs by the scheme; "random" lists each fixed image with the next subject."""
        fixed = select(records, self.phase, self.fixed_modality)
        moving = sorted(select(records, self.phase, self.moving_modality), key=lambda record: record.subject)
        if not fixed or not moving or len({record.subject for record in (*fixed, *moving)}) < 2:
            return []
        scheme = self.scheme if training else self.evaluation_scheme
        if scheme == "all":
            return [Pair(f, m) for f in fixed for m in moving if f.subject != m.subject]
        subjects = [record.subject for record in moving]
        following = ((f, _next_subject(f, moving, subjects)) for f in fixed)
        return [Pair(f, m) for f, m in following if m is not None]

    def draw(self, pair: Pair, records: Sequence[Record], generator: np.random.Generator) -> Pair:
        """Return the fixed image with a random partner."""
        if self.scheme != "random":
            return pair
        moving = select(records, self.phase, self.moving_modality)
        partners = moving if self.allow_self else _others(pair.fixed, moving)
        return Pair(pair.fixed, partners[int(generator.integers(len(partners)))])


@dataclass(frozen=True)
class Atlas(Pairing):
    """Every subject against one.

    Attributes:
        atlas: subject that is the atlas; it takes part in every split.
        atlas_is: "fixed" or "moving".
    """

    atlas: str
    atlas_is: str

    def __post_init__(self) -> None:
        if self.atlas_is not in ("fixed", "moving"):
            raise ConfigError(f"data.pairing.atlas_is is {self.atlas_is!r}; choose fixed or moving.")

    @property
    def shared_subjects(self) -> frozenset[str]:
        """The atlas."""
        return frozenset((self.atlas,))

    def pairs(self, records: Sequence[Record], *, listed: Sequence[Pair], training: bool) -> list[Pair]:
        """Return one pair for every other record.

        Raises:
            DataError: the atlas is not among the records.
        """
        found = [record for record in records if record.subject == self.atlas]
        if not found:
            raise DataError(f"data.pairing.atlas is {self.atlas!r}, which the data set does not hold.")
        others = [record for record in records if record.subject != self.atlas]
        if self.atlas_is == "fixed":
            return [Pair(found[0], record) for record in others]
        return [Pair(record, found[0]) for record in others]


@dataclass(frozen=True)
class Listed(Pairing):
    """The pairs that the data set names (a CSV, a Learn2Reg descriptor).

    Attributes:
        otherwise: pairing of a split for which nothing is listed, such as the training scans of an unpaired
            task.
        unpaired: training also pairs the images of subjects that no listed pair names, by `otherwise`
            (a hybrid task, such as AbdomenMRCT).
    """

    otherwise: Pairing | None
    unpaired: bool = False

    @property
    def shared_subjects(self) -> frozenset[str]:
        """Those of `otherwise`."""
        return frozenset() if self.otherwise is None else self.otherwise.shared_subjects

    def pairs(self, records: Sequence[Record], *, listed: Sequence[Pair], training: bool) -> list[Pair]:
        """Return the listed pairs, or those of `otherwise`."""
        if self.otherwise is None or (listed and not (self.unpaired and training)):
            return list(listed)
        paired = frozenset[str]().union(*(pair.subjects for pair in listed))
        rest = [record for record in records if record.subject not in paired]
        return [*listed, *self.otherwise.pairs(rest, listed=(), training=training)]

    def draw(self, pair: Pair, records: Sequence[Record], generator: np.random.Generator) -> Pair:
        """Leave listed pairs; draw for the others as `otherwise` does."""
        if self.otherwise is None or pair.listed:
            return pair
        return self.otherwise.draw(pair, records, generator)


def by_subject(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Group records by subject, keeping their order."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record.subject, []).append(record)
    return groups


def select(records: Sequence[Record], phase: str | None, modality: str | None) -> list[Record]:
    """Return the records of a phase and a modality; None takes any."""
    return [r for r in records if phase in (None, r.phase) and modality in (None, r.modality)]


def _others(fixed: Record, moving: Sequence[Record]) -> list[Record]:
    return [record for record in moving if record.subject != fixed.subject]


def _next_subject(fixed: Record, moving: Sequence[Record], subjects: Sequence[str]) -> Record | None:
    """First moving record of the subject that follows, the first subject following the last."""
    position = bisect_right(subjects, fixed.subject) % len(subjects)
    return moving[position] if subjects[position] != fixed.subject else None
