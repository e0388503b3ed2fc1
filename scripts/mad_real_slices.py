"""Write 64 × 64 slices of real pairs of two contrasts for `medreg capture-range` (experiments/mad, real pairs).

    python scripts/mad_real_slices.py REAL OUT

REAL holds the folders brats, spine_t1t2 and prostate_mrus with the files of the public sources that
experiments/mad/README.md names. OUT gets a folder for each, with slices as NIfTI files and pairs.csv.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medreg.io.image import read_image, read_labels, write_image

Array = NDArray[np.float64]
SIDE = 64  # pixels


def main(real: Path, out: Path) -> None:
    """Write all three sets."""
    brain(real / "brats", out / "brain")
    spine(real / "spine_t1t2", out / "spine")
    prostate(real / "prostate_mrus", out / "prostate")


def brain(source: Path, target: Path) -> None:
    """FLAIR to contrast T1, skull-stripped, natively aligned: axial slices every 8 mm, 3 mm pixels, 192 mm."""
    pair = [read_image(source / f"pat0005_{name}.nii.gz").array for name in ("t1c", "flair")]
    inside = pair[0] != pair[0].flat[0]
    middle = ndimage.center_of_mass(inside)
    rows = []
    for height in range(int(middle[2]) - 24, int(middle[2]) + 25, 8):
        images = []
        for volume in pair:
            # z-scored within the brain: the background goes below the darkest tissue
            shifted = np.where(inside, volume - volume[inside].min(), 0.0)
            images.append(plane(shifted, (middle[0], middle[1], height), pixel=3.0, axes=(0, 1)))
        rows.append((f"z{height}", *images))
    written(rows, target, spacing=3.0)


def spine(source: Path, target: Path) -> None:
    """T2 to T1 of a neck, aligned by the headers of one session: sagittal slices around the cord, 1 mm pixels."""
    first, second = (read_image(source / name) for name in ("t1w.nii.gz", "t2.nii.gz"))
    cord = read_labels(source / "t1w_cord.nii.gz").array > 0
    to_second = np.linalg.inv(second.affine) @ first.affine
    middle = ndimage.center_of_mass(cord)
    grid = np.stack(np.indices(first.array.shape)).reshape(3, -1)
    there = (to_second[:3, :3] @ grid + to_second[:3, 3:]).reshape(3, *first.array.shape)
    moved = ndimage.map_coordinates(second.array.astype(float), there, order=1)
    # Where the second image does not exist, the first is blanked too.
    exists = ndimage.map_coordinates(np.ones(second.array.shape), there, order=1) > 0.99
    across = int(np.argmax(np.abs(first.affine[0, :3])))  # the axis from right to left
    axes = tuple(axis for axis in range(3) if axis != across)
    rows = []
    for step in (-4, -2, 0, 2, 4):
        centre = list(middle)
        centre[across] += step
        images = [
            plane(volume, tuple(centre), pixel=1.0, axes=axes)
            for volume in (first.array * exists, moved * exists)
        ]
        rows.append((f"x{step:+d}", *images))
    written(rows, target, spacing=1.0)


def prostate(source: Path, target: Path) -> None:
    """Ultrasound to MR of a prostate, brought together by the centroids of the gland: not a native alignment."""
    rows = []
    for case in ("case000000", "case000001", "case000002", "case000025"):
        images = []
        for kind in ("mr", "us"):
            gland = read_image(source / f"{case}_{kind}_label.nii.gz", frame=0).array
            centre = ndimage.center_of_mass(gland > 0.5)
            volume = read_image(source / f"{case}_{kind}_image.nii.gz").array
            images.append(plane(volume, centre, pixel=1.0, axes=(0, 1)))
        rows.append((case, *images))
    written(rows, target, spacing=0.4)


def plane(volume: NDArray, centre: tuple[float, ...], *, pixel: float, axes: tuple[int, ...]) -> Array:
    """A plane of 64 × 64 pixels of so many voxels around a point, along two axes; zeros outside."""
    steps = (np.arange(SIDE) - (SIDE - 1) / 2) * pixel
    points = [np.full((SIDE, SIDE), float(value)) for value in centre]
    points[axes[0]] = points[axes[0]] + steps[:, None]
    points[axes[1]] = points[axes[1]] + steps[None, :]
    smooth = ndimage.gaussian_filter(volume.astype(float), 0.4 * pixel if pixel > 1 else 0.0)
    return ndimage.map_coordinates(smooth, points, order=1)


def written(rows: list[tuple[str, Array, Array]], target: Path, *, spacing: float) -> None:
    """Write slices and pairs.csv; every pair is of the test set."""
    target.mkdir(parents=True, exist_ok=True)
    affine = np.diag([spacing, spacing, 1.0, 1.0])
    with (target / "pairs.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(("id", "fixed", "moving", "split"))
        for name, fixed, moving in rows:
            for side, image in (("fixed", fixed), ("moving", moving)):
                write_image(target / f"{name}_{side}.nii.gz", image[..., None], affine, dtype=np.float32)
            table.writerow((name, f"{name}_fixed.nii.gz", f"{name}_moving.nii.gz", "test"))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
