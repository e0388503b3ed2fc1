"""Structures of a data set that names none: the codes that its label maps hold."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from medreg.data.records import Record
from medreg.io.image import read_labels


def found_labels(records: Iterable[Record]) -> dict[str, int]:
    """Return `label<code>` → code for every code but 0 in the label maps of some images, which are read for it."""
    files = {(record.label, record.label_frame) for record in records if record.label is not None}
    codes = {int(code) for file, frame in files for code in np.unique(read_labels(file, frame=frame).array)}
    return {f"label{code}": code for code in sorted(codes - {0})}
