"""MetaImage and NRRD files, read through SimpleITK where it is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medreg.errors import DataError, MissingExtra
from medreg.io.frames import frame_names
from medreg.io.header import Geometry

FOREIGN_SUFFIXES = (".mha", ".mhd", ".nrrd", ".nhdr")
LPS = np.diag([-1.0, -1.0, 1.0])  # RAS ↔ LPS: the first two world axes change sign


def is_foreign(path: Path) -> bool:
    """Say whether a file is read through SimpleITK, by its suffix."""
    return path.name.lower().endswith(FOREIGN_SUFFIXES)


def simpleitk(reason: str) -> Any:
    """Import SimpleITK.

    Raises:
        MissingExtra: it is not installed; the message says for what it is needed and the install line.
    """
    try:
        import SimpleITK
    except ImportError as error:
        raise MissingExtra(f"{reason} needs SimpleITK: pip install 'medreg[itk]'") from error
    return SimpleITK


def read_itk_image(path: Path) -> Any:
    """Read a file with SimpleITK.

    Raises:
        DataError: SimpleITK cannot read it.
    """
    sitk = simpleitk(f"Reading {path}")
    try:
        return sitk.ReadImage(str(path))
    except RuntimeError as error:
        last_line = str(error).strip().splitlines()[-1]
        raise DataError(
            f"{path} cannot be read as an image, it may be damaged or truncated: {last_line}"
        ) from error


def itk_affine(image: Any) -> NDArray[np.float64]:
    """Return the (4, 4) voxel → RAS mm affine of a 2-D or 3-D SimpleITK image."""
    ndim = image.GetDimension()
    direction = np.eye(3)
    direction[:ndim, :ndim] = np.array(image.GetDirection()).reshape(ndim, ndim)
    spacing, origin = np.ones(3), np.zeros(3)
    spacing[:ndim], origin[:ndim] = image.GetSpacing(), image.GetOrigin()
    affine = np.eye(4)
    affine[:3, :3] = LPS @ direction * spacing
    affine[:3, 3] = LPS @ origin
    return affine


def read_foreign(path: Path, *, frame: int | None) -> tuple[NDArray[Any], Geometry]:
    """Return array (X, Y[, Z]) and geometry of a file that SimpleITK reads; `frame` picks a component."""
    image = read_itk_image(path)
    if image.GetDimension() not in (2, 3):
        raise DataError(f"{path}: has {image.GetDimension()} dimensions; convert it to a 3-D file.")
    array = simpleitk(f"Reading {path}").GetArrayFromImage(image)
    components = image.GetNumberOfComponentsPerPixel()
    if components > 1 and frame is None:
        raise DataError(
            f"{path}: has {components} components; name one of them: {frame_names(path, components)}."
        )
    if not 0 <= (frame or 0) < components:
        raise DataError(f"{path}: component {frame} does not exist; the file has {components}.")
    if components > 1:
        array = array[..., frame]
    affine = itk_affine(image)
    return array.transpose(), Geometry(affine, tuple(float(value) for value in image.GetSpacing()))
