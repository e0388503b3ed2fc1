"""Label maps over time: 4-D files read whole, and arrays without a header whose grid somebody states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from medreg.errors import ConfigError, DataError
from medreg.io.foreign import is_foreign
from medreg.io.image import Volume, existing_file, read_labels
from medreg.io.labels import exact_labels
from medreg.io.nifti import geometry_of, load_nibabel, read_voxels

ARRAY_SUFFIX = ".npy"
OPPOSITE = {"R": "L", "L": "R", "A": "P", "P": "A", "S": "I", "I": "S"}


@dataclass(frozen=True)
class StatedGrid:
    """The grid of arrays in files that do not tell it.

    Attributes:
        spacing_mm: voxel size along each axis of the array, mm.
        axes: world direction of each axis, such as "SPL": the first runs upwards, the second backwards, the third left.
    """

    spacing_mm: tuple[float, ...]
    axes: str

    def __post_init__(self) -> None:
        """Refuse what is no grid.

        Raises:
            ConfigError: naming the option.
        """
        object.__setattr__(self, "spacing_mm", tuple(float(size) for size in self.spacing_mm))
        if len(self.spacing_mm) != 3 or min(self.spacing_mm) <= 0:
            raise ConfigError(
                f"data.dataset.arrays.spacing_mm is {list(self.spacing_mm)}; give three positive numbers, mm."
            )
        letters = {*self.axes, *(OPPOSITE.get(letter, "?") for letter in self.axes)}
        if len(self.axes) != 3 or letters != set(OPPOSITE):
            raise ConfigError(
                f"data.dataset.arrays.axes is {self.axes!r}; give the direction of each axis of the array, such as "
                "SPL: one of R and L, one of A and P, one of S and I."
            )

    @property
    def affine(self) -> NDArray[np.float64]:
        """(4, 4) voxel → RAS mm, the first voxel at the origin."""
        turned = nib.orientations.inv_ornt_aff(nib.orientations.axcodes2ornt(self.axes), (1, 1, 1))
        affine = np.eye(4)
        affine[:3, :3] = np.linalg.inv(turned[:3, :3]) @ np.diag(self.spacing_mm)
        return affine


def is_array(path: str | Path) -> bool:
    """Whether a file is an array without a header."""
    return str(path).lower().endswith(ARRAY_SUFFIX)


def read_label_sequence(
    path: str | Path, *, frame: int | None = None, stated: StatedGrid | None = None
) -> Volume:
    """Read a label map with all of its frames as int32, exactly.

    Args:
        path: NIfTI of three axes, or of four with the frames last; a foreign file of three; `.npy` of three.
        frame: 0-based index of the only frame that is wanted.
        stated: the grid of a `.npy` file.

    Returns:
        array (X, Y, Z, T) and affine; T = 1 for a file of three axes.

    Raises:
        DataError: see `read_labels`; a `.npy` file of other than three axes, or one whose grid nobody states.
    """
    path = existing_file(path)
    if is_array(path):
        volume = _from_array(path, stated)
    elif frame is None and not is_foreign(path):
        image = load_nibabel(path)
        if len(image.shape) not in (3, 4):
            raise DataError(f"{path} has shape {image.shape}; a heart is (X, Y, Z), or (X, Y, Z, frames).")
        geometry = geometry_of(image, ndim=3, name=str(path))
        array = exact_labels(read_voxels(image, str(path)), str(path))
        volume = Volume(array, geometry.affine, geometry.spacing_mm, geometry.notes, path)
    else:
        volume = read_labels(path, frame=frame)
    if volume.array.ndim == 2:
        raise DataError(f"{path} is a single slice of shape {volume.shape}; a heart is (X, Y, Z).")
    return volume if volume.array.ndim == 4 else replace(volume, array=volume.array[..., np.newaxis])


def array_shape(path: str | Path) -> tuple[tuple[int, ...], str]:
    """Return shape and type of a `.npy` file from its start.

    Raises:
        DataError: it cannot be read.
    """
    array = _opened(existing_file(path))
    return tuple(array.shape), str(array.dtype)


def label_frames(path: str | Path) -> Sequence[int]:
    """Return the frames of a label file by number, from its header."""
    if is_array(path) or is_foreign(Path(path)):
        return range(1)
    shape = load_nibabel(existing_file(path)).shape
    return range(int(shape[3]) if len(shape) > 3 else 1)


def _from_array(path: Path, stated: StatedGrid | None) -> Volume:
    if stated is None:
        raise DataError(
            f"{path} has no header that says how large a voxel is and how the array lies. State both: "
            "data.dataset.arrays.spacing_mm=[2,1.25,1.25] data.dataset.arrays.axes=SPL (AgeHeart's files)."
        )
    array = _opened(path)
    if array.ndim != 3:
        raise DataError(f"{path} has shape {array.shape}; an array of three axes is wanted, a file a frame.")
    return Volume(
        np.ascontiguousarray(exact_labels(array, str(path))), stated.affine, stated.spacing_mm, path=path
    )


def _opened(path: Path) -> NDArray[np.generic]:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} is no array of numbers, or damaged: {error}") from error
