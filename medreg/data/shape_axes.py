"""How a heart lies in its file: which axis is the long one, where the apex is, and where the right ventricle.

A header cannot be trusted with it (many tools write the identity), the shape can: a cavity is wide at the base and
ends at the apex, and the right ventricle lies beside the left one. What the shape cannot tell is left from right of a
mirror, so the axes found are always a proper rotation of the world that the affine states.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from medreg.errors import DataError
from medreg.io.stack import across_slices

LV, MYO, RV = 1, 2, 3  # places of the structures in a shape
SIDE = np.array([-1.0, -1.0]) / np.sqrt(2)  # direction of the RV in plane: low X, low Y
OBLIQUE, TOO_OBLIQUE = (
    25.0,
    40.0,
)  # degrees of the long axis to an axis of the file: worth a note, refused (ours)
UNSURE = (
    0.02  # of the length: a cavity whose middle is nearer than this to that of the heart tells no base (ours)
)
LAYERS = 3  # along the long axis that a heart needs


@dataclass(frozen=True)
class Axes:
    """Which axis of a file runs along each axis of a model's grid, and which way.

    Attributes:
        order: axis of the file for X, Y, Z.
        signs: 1, or −1 where it runs the other way.
        notes: kind and sentence of what is uncertain.
    """

    order: tuple[int, ...]
    signs: tuple[int, ...]
    notes: tuple[tuple[str, str], ...] = ()

    @property
    def stored(self) -> bool:
        """Whether they are those of the file."""
        return self.order == (0, 1, 2) and self.signs == (1, 1, 1)


STORED = Axes((0, 1, 2), (1, 1, 1))


def found_axes(
    places: NDArray[np.uint8], affine: NDArray[np.float64], *, name: str, tolerance: float = 0.0
) -> Axes:
    """Return the axes of a heart by its shape.

    Args:
        places: (X, Y, Z), 1 LV, 2 MYO, 3 RV, of the first frame.
        affine: (4, 4) voxel → RAS mm.
        name: of the file, for messages.
        tolerance: degrees by which the stored axes may be further from the wanted direction of the RV than others
            and are still taken, for files that lie right already.

    Raises:
        DataError: a structure is missing, fewer than three layers, or a long axis oblique to those of the file.
    """
    _require(places, name)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    long, notes = _long_axis(places, spacing, name)
    up, more = _towards_base(places, long)
    towards = _towards_rv(places, spacing)
    best: tuple[float, Axes] | None = None
    plane = [axis for axis in range(3) if axis != long]
    turned = np.linalg.det(affine[:3, :3])
    for first, signs in product((0, 1), product((1, -1), repeat=2)):
        order = (plane[first], plane[1 - first], long)
        all_signs = (*signs, up)
        if turned * np.prod(all_signs) * _parity(order) < 0:
            continue  # a mirror image
        direction = np.array([signs[0] * towards[order[0]], signs[1] * towards[order[1]]])
        length = float(np.linalg.norm(direction))
        cosine = float(direction @ SIDE) / length if length else 0.0
        angle = float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
        axes = Axes(order, all_signs, (*notes, *more))
        if axes.stored:
            angle -= tolerance
        if best is None or angle < best[0]:
            best = angle, axes
    assert best is not None
    return best[1]


def _require(places: NDArray[np.uint8], name: str) -> None:
    names = {LV: "LV", MYO: "MYO", RV: "RV"}
    missing = [word for place, word in names.items() if not (places == place).any()]
    if missing:
        raise DataError(
            f"{name} holds no {' and no '.join(missing)} in its first frame, so that its orientation cannot be found. "
            "Correct data.labels, or set data.placing.orient=stored for hearts that lie right already (long axis "
            "last, apex first, RV toward the first rows and columns)."
        )


def _long_axis(
    places: NDArray[np.uint8], spacing: NDArray[np.float64], name: str
) -> tuple[int, tuple[tuple[str, str], ...]]:
    """The axis across slices, as the header says, else that nearest to the long axis of the left ventricle."""
    left = np.argwhere((places == LV) | (places == MYO)) * spacing
    long = across_slices(places.shape, spacing.tolist())
    notes: tuple[tuple[str, str], ...] = ()
    if long is None:
        centred = left - left.mean(0)
        principal = np.linalg.eigh(centred.T @ centred)[1][:, -1]
        long = int(np.abs(principal).argmax())
        angle = float(np.degrees(np.arccos(np.clip(abs(principal[long]), 0, 1))))
        if angle > TOO_OBLIQUE:
            raise DataError(
                f"{name}: the long axis of the left ventricle lies {angle:.0f} degrees off the nearest axis of the "
                "file. Resample it to a short-axis stack first."
            )
        if angle > OBLIQUE:
            notes = (("oblique", f"the long axis lies {angle:.0f} degrees off the third axis"),)
    layers = len(np.unique(np.argwhere((places == LV) | (places == MYO))[:, long]))
    if layers < LAYERS:
        raise DataError(
            f"{name} shows the left ventricle in {layers} layers along its long axis; {LAYERS} are needed at least."
        )
    return long, notes


def _towards_base(places: NDArray[np.uint8], long: int) -> tuple[int, tuple[tuple[str, str], ...]]:
    """1 where the base lies at high index of the long axis, −1 where at low: both cavities are wider toward the base.

    The middles of both cavities, against that of the left ventricle, are added up: of all 180 labelled frames of 90
    patients of ACDC the sum has the same sign, that of either cavity alone is wrong twice (infarcts bulge).
    """
    others = tuple(axis for axis in range(3) if axis != long)
    left = np.flatnonzero(((places == LV) | (places == MYO)).any(others))
    layers = slice(left[0], left[-1] + 1)
    place = np.arange(left[0], left[-1] + 1) - (left[0] + left[-1]) / 2
    shift = 0.0
    for cavity in (LV, RV):
        area = (places == cavity).sum(others)[layers]
        shift += float((place * area).sum() / max(area.sum(), 1)) / len(place)
    notes = (("base", "base and apex are hard to tell apart"),) if abs(shift) < UNSURE else ()
    return (1 if shift >= 0 else -1), notes


def _towards_rv(places: NDArray[np.uint8], spacing: NDArray[np.float64]) -> NDArray[np.float64]:
    """Direction from the left to the right ventricle, (3,) mm."""
    left, right = (np.argwhere(places == place).mean(0) for place in (LV, RV))
    return (right - left) * spacing


def _parity(order: Sequence[int]) -> int:
    """1 for an even permutation of three axes, −1 for an odd one."""
    return round(np.linalg.det(np.eye(3)[list(order)]))
