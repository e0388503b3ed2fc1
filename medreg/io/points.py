"""Landmarks and key-points in CSV files, in voxel or world coordinates."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medreg.errors import DataError
from medreg.io.atomic import write_text
from medreg.io.image import existing_file


@dataclass(frozen=True)
class PointPairs:
    """Corresponding points: row i of `first` and row i of `second` are the same anatomical place.

    Attributes:
        first: (N, D) coordinates as stored, float64.
        second: (N, D) coordinates as stored, float64.
    """

    first: NDArray[np.float64]
    second: NDArray[np.float64]


def read_points(path: str | Path) -> NDArray[np.float64]:
    """Read one point per row: (N, 2) or (N, 3) float64, in the coordinates of the file.

    Learn2Reg files have three columns and no header (0-based voxels of that image); a header row is accepted.

    Raises:
        DataError: missing file, rows of unequal length, text among the numbers, or another number of columns.
    """
    return _read_table(path, columns=(2, 3), meaning="one point per row: x,y or x,y,z")


def read_point_pairs(path: str | Path) -> PointPairs:
    """Read two corresponding points per row: x,y,z of the first image, then of the second (or 2 + 2 columns).

    Raises:
        DataError: see `read_points`.
    """
    table = _read_table(path, columns=(4, 6), meaning="two points per row: x1,y1,z1,x2,y2,z2")
    half = table.shape[1] // 2
    return PointPairs(table[:, :half], table[:, half:])


def write_points(path: str | Path, points: NDArray[np.float64], *, header: tuple[str, ...] = ()) -> Path:
    """Write points (N, D), one per row with five decimals; without `header` the file is as Learn2Reg's."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [",".join(header)] if header else []
    rows += [",".join(f"{value:.5f}" for value in point) for point in np.asarray(points)]
    write_text(path, "\n".join(rows) + "\n")
    return path


def voxel_to_world(points: NDArray[np.float64], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return RAS mm (N, 3) of voxel coordinates (N, D); a missing third coordinate is slice 0."""
    padded = np.zeros((len(points), 3))
    padded[:, : points.shape[1]] = points
    return padded @ affine[:3, :3].T + affine[:3, 3]


def world_to_voxel(
    points: NDArray[np.float64], affine: NDArray[np.float64], *, ndim: int = 3
) -> NDArray[np.float64]:
    """Return the first `ndim` voxel coordinates (N, ndim) of RAS mm points (N, 3)."""
    inverse = np.linalg.inv(np.asarray(affine, dtype=np.float64)[:3, :3])
    offsets: NDArray[np.float64] = np.asarray(points, dtype=np.float64) - affine[:3, 3]
    return (offsets @ inverse.T)[:, :ndim]


def _numbers(row: list[str]) -> list[float] | None:
    try:
        return [float(cell) for cell in row]
    except ValueError:
        return None


def _read_table(path: str | Path, *, columns: tuple[int, ...], meaning: str) -> NDArray[np.float64]:
    """Read a numeric CSV table with an optional header row; blanks and empty lines are skipped."""
    path = existing_file(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not a text file; points are read from CSV.") from error
    rows = [
        [cell.strip() for cell in row] for row in csv.reader(text.splitlines()) if any(map(str.strip, row))
    ]
    if rows and _numbers(rows[0]) is None:
        rows = rows[1:]
    values: list[list[float]] = []
    for number, row in enumerate(rows, start=1):
        found = _numbers(row)
        if found is None or len(row) not in columns or len(row) != len(rows[0]):
            wanted = " or ".join(map(str, columns))
            raise DataError(
                f"{path}: point {number} is {','.join(row)!r}; expected {wanted} numbers ({meaning})."
            )
        values.append(found)
    if not values:
        raise DataError(f"{path} holds no points.")
    table = np.array(values)
    if not np.isfinite(table).all():
        raise DataError(f"{path}: coordinates hold NaN or infinite values.")
    return table
