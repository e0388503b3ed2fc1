"""The reader that gives MONAI's `LoadImaged` the repaired affine and the errors of this package."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import PathLike
from monai.data.image_reader import ImageReader
from monai.utils.enums import MetaKeys, SpaceKeys
from numpy.typing import NDArray

from medreg.errors import DataError
from medreg.io.foreign import FOREIGN_SUFFIXES
from medreg.io.image import NIFTI_SUFFIXES, Volume, read_image


class MedregNiftiReader(ImageReader):
    """MONAI image reader over `read_image`: header repair also for 4-D cine files, one frame, C order.

    Use: `LoadImaged(keys, reader=MedregNiftiReader(frame=None))`. The affine on the MetaTensor is the
        repaired one
    and its meta data hold `notes`, the sentences about what was repaired.

    Args:
        frame: 0-based frame of files with a fourth axis; None for 2-D and 3-D files.
    """

    def __init__(self, *, frame: int | None = None) -> None:
        super().__init__()
        self.frame = frame

    def verify_suffix(self, filename: Sequence[PathLike] | PathLike) -> bool:
        """Say whether every file has a suffix that this reader knows."""
        names = [filename] if isinstance(filename, str | Path) else list(filename)  # type: ignore[arg-type]
        return all(str(name).lower().endswith(NIFTI_SUFFIXES + FOREIGN_SUFFIXES) for name in names)

    def read(self, data: Sequence[PathLike] | PathLike, **kwargs: Any) -> Volume:
        """Read one file.

        Raises:
            DataError: the file cannot be read, or several files are given at once.
        """
        names = [data] if isinstance(data, str | Path) else list(data)  # type: ignore[arg-type]
        if len(names) != 1:
            raise DataError(f"Expected one file an image, got {len(names)}: {', '.join(map(str, names))}.")
        return read_image(Path(str(names[0])), frame=self.frame)

    def get_data(self, img: Volume) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Return the array (X, Y[, Z]) and the meta data that MONAI's transforms use."""
        meta = {
            MetaKeys.AFFINE: img.affine.copy(),
            MetaKeys.ORIGINAL_AFFINE: img.affine.copy(),
            MetaKeys.SPATIAL_SHAPE: np.asarray(img.shape),
            MetaKeys.ORIGINAL_CHANNEL_DIM: float("nan"),  # MONAI's sign for "no channel axis"
            MetaKeys.SPACE: SpaceKeys.RAS,
            "spacing_mm": np.asarray(img.spacing_mm),
            "notes": "; ".join(img.notes),
        }
        return img.array, meta
