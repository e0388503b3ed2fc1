"""Label maps that stand where images are wanted, recognised by their values."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medreg.errors import DataError
from medreg.io.image import Volume
from medreg.io.on_grid import called

MOST_CODES = 256  # of a label map; atlases of the whole brain have about 200
SAMPLE = 50_000  # voxels looked at first
ALIKE = (
    0.6  # share of neighbours inside structures that have one value; in images of grey values it is far below
)


def codes_of(array: NDArray[Any]) -> int | None:
    """Return the number of codes if an image looks like a label map: few whole numbers, one value over whole regions.

    Args:
        array: (X, Y) or (X, Y, Z) finite numbers.
    """
    few = array.reshape(-1)[:: max(array.size // SAMPLE, 1)]  # most images are told apart by these
    for values in (few, array):
        if not np.array_equal(values, np.rint(values)):
            return None
        codes = np.unique(values)
        if len(codes) > MOST_CODES:
            return None
    outside = array.flat[0]  # a corner
    same = total = 0
    for axis in range(array.ndim):
        first, second = np.moveaxis(array, axis, 0)[:-1], np.moveaxis(array, axis, 0)[1:]
        within = (first != outside) & (second != outside)
        total += int(within.sum())
        same += int((within & (first == second)).sum())
    return len(codes) if total and same >= ALIKE * total else None


def check_looks(fixed: Volume, moving: Volume) -> tuple[str, ...]:
    """Return a note where both images of a pair look like label maps.

    Raises:
        DataError: one of them does and the other does not.
    """
    found = {"fixed": codes_of(fixed.array), "moving": codes_of(moving.array)}
    if all(found.values()):
        return (
            "both images look like label maps: their codes are compared as grey values, and the warped one is "
            "interpolated linearly; give label maps as labels of their images",
        )
    for side, other, volume in (("fixed", "moving", fixed), ("moving", "fixed", moving)):
        if found[side]:
            raise DataError(
                f"{called(volume, f'{side} image')} looks like a label map ({found[side]} whole numbers, each over "
                f"whole regions) while the {other} image does not. Give the {side} image itself, and label maps as "
                "--fixed-labels and --moving-labels; to register shapes, give two label maps."
            )
    return ()
