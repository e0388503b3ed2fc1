"""How an image differs from those of the training in ways that a network feels and no preparation undoes."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from medreg.data.preprocess import Preprocess
from medreg.reporting.views import axis_codes
from medreg.segmenting.prepared import PreparedImage

INVENTORY = "inventory.csv"  # of a run folder: a row an image of its data
FACTOR = 1.5  # times larger or smaller than any voxel of the training, from which it is told


def unlike_training(folder: Path, preprocess: Preprocess, prepared: PreparedImage) -> list[str]:
    """Return sentences about orientation and voxel size; none where the run folder does not tell of its images.

    Args:
        folder: of the run.
        preprocess: its preparation.
        prepared: the image.
    """
    rows = _inventory(folder)
    notes = _sizes(rows, preprocess, prepared.grid.spacing_mm.tolist())
    if preprocess.orientation != "stored" or prepared.turned is not None:
        return notes
    count = 2 if prepared.planar else 3  # slices look alike whichever comes first
    known = {row["axes"][:count] for row in rows if row.get("axes")}
    axes = axis_codes(prepared.file.affine.numpy())[:count]
    if known and axes not in known:
        notes.append(
            f"the axes of the image point to {axes}, those of the training's images to {', '.join(sorted(known))}: the "
            "network sees it mirrored or turned, which it may not have learnt. If the result is poor, reorient the file"
        )
    return notes


def _inventory(folder: Path) -> list[dict[str, str]]:
    try:
        with (folder / INVENTORY).open(newline="", encoding="utf-8") as stream:
            return list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error):
        return []


def _sizes(rows: Sequence[dict[str, str]], preprocess: Preprocess, spacing: Sequence[float]) -> list[str]:
    """A sentence about axes that keep the voxel size of the file, where it is far from that of the training."""
    wanted = [*(preprocess.spacing_mm or ()), None, None, None]
    known = [sizes for row in rows if len(sizes := _numbers(row.get("spacing_mm", ""))) == 3]
    if not known or preprocess.resize is not None:
        return []
    for axis, mm in enumerate(spacing):
        low, high = min(one[axis] for one in known), max(one[axis] for one in known)
        if wanted[axis] is None and not low / FACTOR <= mm <= high * FACTOR:
            return [
                f"voxels of the image measure {mm:.3g} mm along axis {axis + 1}, those of the training {low:.3g} to "
                f"{high:.3g} mm: structures have another size for the network"
            ]
    return []


def _numbers(text: str) -> list[float]:
    try:
        return [float(word) for word in text.split("x")]
    except ValueError:
        return []
