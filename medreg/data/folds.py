"""Parts of the subjects for cross-validation, alike in their groups."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medreg.data.records import Record
from medreg.errors import ConfigError


def parts_of(records: Sequence[Record], count: int, seed: int) -> list[list[str]]:
    """Divide the subjects into parts of nearly equal size; every group (pathology, site) is spread over all of them.

    Args:
        records: all records of the data set.
        count: number of parts.
        seed: of the draw.

    Raises:
        ConfigError: there are fewer subjects than parts.
    """
    groups: dict[str, str] = {}
    for record in records:
        groups.setdefault(record.subject, record.group)
    subjects = sorted(groups)
    if len(subjects) < count:
        raise ConfigError(f"data.split.folds={count}: there are {len(subjects)} subjects to divide.")
    order = np.random.default_rng(seed).permutation(len(subjects))
    shuffled = sorted(
        (subjects[i] for i in order), key=lambda subject: groups[subject]
    )  # stable: by group alone
    return [sorted(shuffled[part::count]) for part in range(count)]
