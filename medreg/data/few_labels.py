"""How many of the training subjects have labels that are used, and which."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from medreg.data.split_sets import Split
from medreg.errors import ConfigError

logger = logging.getLogger(__name__)
SHOWN = 5  # subjects that a message names


@dataclass(frozen=True)
class FewLabels:
    """Numbers of labelled and of unlabelled training subjects.

    Subjects are drawn in one order, so that those of a smaller number are among those of a larger one.

    Attributes:
        labelled: training subjects whose labels are used; the others become unlabelled. None: all.
        unlabelled: how many of the unlabelled ones take part; None: all.
    """

    labelled: int | None = None
    unlabelled: int | None = None

    def __post_init__(self) -> None:
        if self.labelled is not None and self.labelled < 1:
            raise ConfigError(
                f"data.labelled is {self.labelled}; give a number of training subjects of 1 or more, or null for all."
            )
        if self.unlabelled is not None and self.unlabelled < 0:
            raise ConfigError(
                f"data.unlabelled is {self.unlabelled}; give a number of subjects, 0 for none or null for all."
            )

    def drawn(
        self, split: Split, order: Sequence[int], *, with_labels: Collection[str], fixed: bool
    ) -> Split:
        """Return a split whose training subjects are labelled, and whose others are unlabelled.

        Args:
            split: its training subjects are the pool, its unlabelled ones stay.
            order: seeds of the draw.
            with_labels: subjects that have a label map.
            fixed: a published split has drawn the labelled subjects already.

        Raises:
            ConfigError: there are fewer subjects than are asked for.
        """
        pool = _shuffled([subject for subject in split.train if subject in with_labels], order)
        bare = [subject for subject in split.train if subject not in with_labels]
        count = len(pool) if self.labelled is None or fixed else self.labelled
        if self.labelled is not None and not pool:
            raise ConfigError(
                f"data.labelled={self.labelled}: none of the {len(split.train)} training subjects has a label map. "
                "Correct the data set, data.images or data.split."
            )
        if count > len(pool):
            raise ConfigError(
                f"data.labelled={count}: only {len(pool)} training subjects have label maps"
                + (f" ({len(bare)} have none)" if bare else "")
                + ". Lower it, or make data.split.val and data.split.test smaller."
            )
        rest = _shuffled(sorted({*split.unlabelled, *pool[count:], *bare}), order)
        if self.unlabelled is not None and self.unlabelled > len(rest):
            raise ConfigError(
                f"data.unlabelled={self.unlabelled}: there are {len(rest)} unlabelled subjects. Lower it, or set "
                "data.labelled to fewer subjects, since the rest of the training subjects are the unlabelled ones."
            )
        found = replace(
            split,
            train=tuple(sorted(pool[:count])),
            unlabelled=tuple(sorted(rest[: len(rest) if self.unlabelled is None else self.unlabelled])),
        )
        if found.unlabelled or self.labelled is not None:
            logger.info(
                "%d labelled training subjects (%s), %d unlabelled.",
                len(found.train),
                _some(found.train),
                len(found.unlabelled),
            )
        return found


def _shuffled(subjects: Sequence[str], order: Sequence[int]) -> list[str]:
    places = np.random.default_rng(list(order)).permutation(len(subjects))
    return [subjects[place] for place in places]


def _some(subjects: Sequence[str]) -> str:
    return ", ".join(subjects[:SHOWN]) + (", …" if len(subjects) > SHOWN else "")
