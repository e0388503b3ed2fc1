"""Checks of single files of a Learn2Reg task: image headers, label maps, masks, points."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medreg.data.audit import check_header
from medreg.data.findings import Notes
from medreg.errors import DataError
from medreg.io.image import read_labels
from medreg.io.points import read_points
from medreg.io.report import HeaderReport

# Tasks are resampled to whole millimetres and compared by index: these are no findings.
USUAL = frozenset(("unit_spacing", "left_handed", "thick_slices"))


def check_map(
    file: Path, image: HeaderReport, notes: Notes, *, kind: str, known: set[int], deep: bool
) -> set[int]:
    """Compare a label map or mask with its image; return the label codes that were read.

    Args:
        file: the map.
        image: header of its image.
        notes: receives what is odd.
        kind: "label" or "mask".
        known: label codes that may occur; empty for any.
        deep: read the voxels.
    """
    header = check_header(file, notes, name=file.name, voxels=False, usual=USUAL)
    if header is None:
        return set()
    if header.shape[:3] != image.shape[:3]:
        message = f"a {kind} has another size than its image"
        notes.add("error", f"{kind} size", message, remedy="download it again", example=file.name)
    elif not np.allclose(header.affine, image.affine, atol=1e-2):
        message = f"the header of a {kind} places it elsewhere than its image"
        notes.add("info", f"{kind} place", message, example=file.name)
    if not deep:
        return set()
    try:
        found = {int(code) for code in np.unique(read_labels(file).array)}
    except DataError as error:
        notes.add("error", f"{kind} values", str(error), remedy="download it again", example=file.name)
        return set()
    if found <= {0}:
        notes.add("warning", f"{kind} empty", f"a {kind} is empty", example=file.name)
    if kind == "mask":
        if not found <= {0, 1}:
            message = f"a mask holds {sorted(found)} instead of 0 and 1"
            remedy = "read as inside where it is not 0"
            notes.add("warning", "mask values", message, remedy=remedy, example=file.name)
        return set()
    unknown = found - known - {0}
    if known and unknown:
        message = f"label codes {sorted(unknown)} that neither descriptor nor evaluation config names"
        notes.add("error", "label codes", message, remedy="set data.labels", example=file.name)
    return found - {0}


def check_points(file: Path, image: HeaderReport | None, notes: Notes) -> int | None:
    """Return the number of points, None where they cannot be read.

    Args:
        file: CSV of voxel coordinates.
        image: header of the image in which all points should lie, None to count only.
        notes: receives what is odd.
    """
    try:
        points = read_points(file)
    except DataError as error:
        notes.add("error", "points", str(error), remedy="download the file again", example=file.name)
        return None
    if image is not None:
        limits = np.array(image.shape[: points.shape[1]]) - 0.5
        outside = int(((points < -0.5) | (points > limits)).any(1).sum())
        if outside:
            message = f"{outside} of {len(points)} points lie outside the image"
            remedy = "points are 0-based voxel coordinates (x, y, z), not mm"
            notes.add("warning", "outside", message, remedy=remedy, example=file.name)
    return len(points)
