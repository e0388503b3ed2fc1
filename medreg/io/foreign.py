"""MetaImage and NRRD files, read through SimpleITK where it is installed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medreg.errors import DataError, MissingExtra
from medreg.io.forms import check_placement
from medreg.io.frames import frame_names
from medreg.io.header import Geometry
from medreg.io.memory import check_size
from medreg.io.packed import check_packed

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
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        size = _claimed_bytes(sitk, reader)
        check_size(str(path), size, stored=size, packed=False, held=2 * size)
        check_packed(path, size=size)
        return reader.Execute()
    except RuntimeError as error:
        last_line = str(error).strip().splitlines()[-1]
        raise DataError(
            f"{path} cannot be read as an image, it may be damaged or truncated: {last_line}"
        ) from error


def _claimed_bytes(sitk: Any, reader: Any) -> int:
    """Return how many bytes of voxels the header of a file promises."""
    name = sitk.GetPixelIDValueAsString(reader.GetPixelID())
    bits = next((int(word) for word in name.replace("-", " ").split() if word.isdigit()), 8)
    double = 2 if name.startswith("complex") else 1
    return math.prod(reader.GetSize()) * reader.GetNumberOfComponents() * bits // 8 * double


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
    return select_itk(read_itk_image(path), str(path), frame=frame)


def select_itk(image: Any, name: str, *, frame: int | None = None) -> tuple[NDArray[Any], Geometry]:
    """Return array (X, Y[, Z]) and geometry of a SimpleITK image, or of one component of it.

    Raises:
        DataError: complex numbers, several components and none chosen, or another number of axes.
    """
    if image.GetDimension() not in (2, 3):
        raise DataError(f"{name}: has {image.GetDimension()} dimensions; give a 2-D or 3-D image.")
    array = simpleitk(f"Reading {name}").GetArrayFromImage(image)
    if array.dtype.kind not in "biuf":
        raise DataError(f"{name}: voxels of type {array.dtype} (complex) are not supported.")
    components = image.GetNumberOfComponentsPerPixel()
    if components > 1 and frame is None:
        raise DataError(
            f"{name}: has {components} components a voxel (colours, a vector), where one value is wanted; name one of "
            f"them: {frame_names(name, components)}."
        )
    if not 0 <= (frame or 0) < components:
        raise DataError(f"{name}: component {frame} does not exist; it has {components}.")
    if components > 1:
        array = array[..., frame]
    affine = check_placement(itk_affine(image), name)
    return array.transpose(), Geometry(affine, tuple(float(value) for value in image.GetSpacing()))
