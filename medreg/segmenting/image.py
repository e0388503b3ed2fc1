"""The image that someone wants segmented, checked before any work, and the frames of a cine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from medreg.errors import ConfigError, DataError
from medreg.io.foreign import is_foreign
from medreg.io.frames import split_frame
from medreg.io.image import Volume, existing_file, frame_count, read_image
from medreg.io.objects import placed
from medreg.io.on_grid import called
from medreg.registering.pair import Source, in_memory

Frame = int | Literal["all"] | None
ROLE = "image"


def frames_of(source: Source, frame: Frame) -> list[int | None]:
    """Return which frames of an image are wanted; None stands for the one image of a file that has no frames.

    Args:
        source: file (`cine.nii.gz#2` names a frame, too), or an image in memory.
        frame: 0-based index along the fourth axis, "all", or None where there is one image.

    Raises:
        DataError: the file is missing, several frames of which none was chosen, or a frame that is not there.
    """
    if not isinstance(source, str | Path):
        if isinstance(frame, int):
            raise DataError(f"frame={frame} is for files with several frames; give that frame of the array.")
        return [None]
    file, named = split_frame(source)
    count = 1 if is_foreign(existing_file(file)) else frame_count(file)
    if named is not None and frame is not None:
        raise DataError(f"{source} names a frame, and so does --frame {frame}; leave one of them out.")
    wanted = named if frame is None else frame
    if wanted == "all":
        return [None] if count == 1 else list(range(count))
    if wanted is None and count > 1:
        raise DataError(
            f"{file} has {count} frames (fourth axis), where one image is wanted: name one with --frame "
            f"(0 … {count - 1}), or take them one by one with --frame all."
        )
    if wanted is not None and not 0 <= wanted < count:
        raise DataError(f"{file}: --frame {wanted} does not exist; the file has {count} (0 … {count - 1}).")
    return [wanted]


def index_of_frame(frame: object) -> int:
    """Return a whole number of Python or numpy as the index of a frame.

    Raises:
        ConfigError: anything else.
    """
    if isinstance(frame, bool) or not isinstance(frame, int | np.integer):
        raise ConfigError(f"frame is {frame!r}; give a whole number from 0, and call once for every frame.")
    return int(frame)


def read_source(source: Source, frame: int | None = None) -> Volume:
    """Return an image, float32, from a file, an object of nibabel, SimpleITK or MONAI, a Volume or an array.

    Raises:
        DataError: it cannot be read, is neither 2-D nor 3-D, or holds NaN or nothing but one value.
    """
    if isinstance(source, str | Path):
        volume = read_image(split_frame(source)[0], frame=frame)
    else:
        volume = in_memory(placed(source, ROLE), ROLE)
        with np.errstate(over="ignore"):  # what does not fit becomes infinite, and is refused below
            volume = replace(volume, array=np.ascontiguousarray(volume.array, dtype=np.float32))
    name = called(volume, ROLE)
    if volume.array.ndim not in (2, 3):
        raise DataError(f"{name} has shape {volume.shape}; give a 2-D or 3-D image, frame by frame.")
    if not np.isfinite(volume.array).all():
        count = int((~np.isfinite(volume.array)).sum())
        raise DataError(
            f"{name} holds {count} NaN or infinite values; replace them (by 0, or by the background) and save it "
            "again."
        )
    if float(volume.array.min()) == float(volume.array.max()):
        raise DataError(
            f"{name} is constant (every voxel is {float(volume.array.flat[0]):g}): there is nothing to segment. Is it "
            "the right file?"
        )
    return volume
