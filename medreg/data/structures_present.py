"""Whether the structures that the options name occur in the label maps at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from medreg.data.records import Record
from medreg.errors import DataError
from medreg.io.image import read_labels


def check_structures(labels: Mapping[str, int], records: Iterable[Record]) -> None:
    """Refuse a structure that no label map holds; maps are opened only until every structure has been seen.

    A map that cannot be read is left to the loading, which says so.

    Args:
        labels: structure → code.
        records: images, most likely ones first.

    Raises:
        DataError: names the structures that are missing, and what to do.
    """
    wanted, held, opened = set(labels.values()), {0}, 0
    for record in records:
        if not wanted:
            return
        if record.label is None:
            continue
        try:
            codes = np.unique(read_labels(record.label, frame=record.label_frame).array)
        except DataError:
            return
        opened += 1
        held |= {int(code) for code in codes}
        wanted -= held
    if wanted and opened:
        missing = ", ".join(f"{name} ({code})" for name, code in labels.items() if code in wanted)
        raise DataError(
            f"data.labels names {missing}, which none of the {opened} label maps holds; they hold "
            f"{', '.join(map(str, sorted(held)))}. Correct data.labels, and leave out structures that are not there."
        )
