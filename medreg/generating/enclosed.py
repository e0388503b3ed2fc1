"""Whether the left ventricle is the one that the myocardium surrounds: codes of two conventions look alike."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from medreg.errors import DataError


def walled(volume: NDArray[np.uint8], cavity: int, wall: int) -> float:
    """Return the share of a cavity's border in the plane of the short axis that is myocardium, 0 to 1.

    Args:
        volume: (X, Y, Z) places of structures.
        cavity: place of a ventricle.
        wall: place of the myocardium.
    """
    border = faces = 0
    for axis in (0, 1):
        low = np.moveaxis(volume, axis, 0)[:-1]
        high = np.moveaxis(volume, axis, 0)[1:]
        for inside, outside in ((low, high), (high, low)):
            edge = (inside == cavity) & (outside != cavity)
            border += int(edge.sum())
            faces += int((edge & (outside == wall)).sum())
    return faces / max(border, 1)


def check_enclosed(volume: NDArray[np.uint8], name: str, labels: Mapping[str, int]) -> None:
    """Refuse a heart whose right ventricle lies deeper in the myocardium than its left: the codes are swapped.

    Args:
        volume: (X, Y, Z) places of structures at ED, in the order of `labels`.
        name: of the file, for the message.
        labels: structure → code of the file.

    Raises:
        DataError: naming the codes.
    """
    places = {structure: place for place, structure in enumerate(labels, start=1)}
    if not {"LV", "MYO", "RV"} <= set(places):
        return
    left, right = (walled(volume, places[side], places["MYO"]) for side in ("LV", "RV"))
    if left < right:
        raise DataError(
            f"{name}: what is called LV (code {labels['LV']}) touches myocardium along {100 * left:.0f} % of its "
            f"border, RV (code {labels['RV']}) along {100 * right:.0f} %; the left ventricle is the one inside. Give "
            f"the codes of the file with --labels, such as LV={labels['RV']},MYO={labels['MYO']},RV={labels['LV']}."
        )
