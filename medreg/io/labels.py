"""Label codes and masks of any number type as integers: exactly, or a sentence that says why not.

Whatever door an array comes through (a file, an argument, a table), it passes here before it counts as a label
map or mask. A plain cast would merge codes, wrap them, or cut 0.95 to 0 without a word.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medreg.errors import DataError

TOLERANCE = 0.01  # largest distance from an integer that rounding a stored label may hide
LARGEST = 2**31 - 1  # codes are 32-bit integers everywhere in this package


def exact_labels(array: NDArray[Any], name: str) -> NDArray[np.int32]:
    """Return a label map as int32 that holds exactly the codes of the array.

    Args:
        array: any shape; integers, booleans, or floating point within 0.01 of integers.
        name: the file or argument, for messages.

    Raises:
        DataError: no real numbers, NaN, fractions, codes beyond ±(2³¹ − 1), or floating point of a size at which
            neighbouring codes had become one number before they came here.
    """
    whole = _whole(array, name, kind="label map")
    low, high = (int(whole.min()), int(whole.max())) if whole.size else (0, 0)
    if max(-low, high) > LARGEST:
        raise DataError(
            f"{name}: label codes from {low} to {high}, but codes must lie within ±{LARGEST} (32-bit integers). "
            "Number the structures anew, from 1."
        )
    if array.dtype.kind == "f" and max(-low, high) > 2 ** (np.finfo(array.dtype).nmant + 1):
        raise DataError(
            f"{name}: label codes up to {max(-low, high)} stored as {array.dtype}, which cannot tell codes beyond "
            f"{2 ** (np.finfo(array.dtype).nmant + 1)} apart: some may have become one. Store them as int32."
        )
    return whole.astype(np.int32)


def exact_mask(array: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """Return a mask as 0 and 1: 1 where the array is above 0.

    Whether a mask may be empty is for the caller to say.

    Args:
        array: any shape; integers, booleans, or floating point within 0.01 of integers.
        name: the file or argument, for messages.

    Raises:
        DataError: no real numbers, NaN, or fractions, which do not say where the mask ends.
    """
    return (_whole(array, name, kind="mask") > 0).astype(np.uint8)


def _whole(array: NDArray[Any], name: str, *, kind: str) -> NDArray[Any]:
    """Return an array of whole numbers, of the type that it had."""
    if array.dtype.kind in "biu":
        return array
    if array.dtype.kind != "f":
        raise DataError(f"{name}: a {kind} holds whole numbers, not values of type {array.dtype}.")
    if not np.isfinite(array).all():
        raise DataError(f"{name}: the {kind} holds NaN or infinite values.")
    rounded = np.rint(array)
    distance = float(np.abs(array - rounded).max(initial=0.0))
    if distance > TOLERANCE:
        raise DataError(f"{name}: values up to {distance:.2f} away from an integer; {_REMEDIES[kind]}")
    return rounded


_REMEDIES = {
    "label map": "this is an image, or a label map that was interpolated linearly. Give a label map (resampled "
    "with nearest neighbour).",
    "mask": "this is an image, or a mask of probabilities. Give a mask of 0 and 1 (cut at the value you mean, "
    "such as 0.5).",
}
