"""Images in memory that know their place: objects of nibabel, SimpleITK and MONAI become volumes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from nibabel.spatialimages import SpatialImage
from torch import Tensor

from medreg.errors import DataError
from medreg.io.foreign import LPS, select_itk
from medreg.io.forms import check_placement, is_usable
from medreg.io.header import column_norms
from medreg.io.image import Volume, select_image


def placed(source: Any, role: str) -> Any:
    """Return an image object of another library as the volume that its file would give.

    Args:
        source: image of nibabel or SimpleITK, or MONAI's MetaTensor; files, volumes, plain arrays and tensors, and
            None pass as they are.
        role: what it is, for messages.

    Raises:
        DataError: several frames or components, complex numbers, an impossible place, or another object.
    """
    name = f"the {role}"
    if isinstance(source, SpatialImage):
        return _of_nibabel(source, name)
    if type(source).__module__.split(".")[0] == "SimpleITK":
        array, geometry = select_itk(source, name)
        return Volume(np.ascontiguousarray(array), geometry.affine, geometry.spacing_mm, geometry.notes)
    if isinstance(source, Tensor) and hasattr(source, "affine") and hasattr(source, "meta"):
        return _of_metatensor(source, name)
    if source is None or isinstance(source, str | Path | Volume | np.ndarray | Tensor | list | tuple):
        return source
    raise DataError(
        f"{name} is an object of type {type(source).__module__}.{type(source).__name__}; give a file, an image of "
        "nibabel, SimpleITK or MONAI, or an array."
    )


def _of_nibabel(image: SpatialImage, name: str) -> Volume:
    image.update_header()  # as saving it would
    array, geometry = select_image(image, name, stored=False)
    return Volume(np.ascontiguousarray(array), geometry.affine, geometry.spacing_mm, geometry.notes)


def _of_metatensor(tensor: Any, name: str) -> Volume:
    """Return a volume of a MetaTensor (X, Y[, Z]) or (1, X, Y[, Z]); its affine leads to RAS unless it says LPS."""
    array = tensor.detach().cpu().numpy()
    given = np.asarray(tensor.affine.detach().cpu().numpy(), dtype=np.float64)
    axes = len(tensor.meta.get("spatial_shape", ())) or min(given.shape[-1] - 1, 3)
    if given.ndim != 2 or given.shape[0] != given.shape[1] or given.shape[0] not in (3, 4):
        raise DataError(
            f"{name}: a MetaTensor with an affine of shape {given.shape}; give one image, not a batch."
        )
    if array.ndim == axes + 1 and array.shape[0] == 1:
        array = array[0]
    if array.ndim not in (2, 3):
        raise DataError(
            f"{name}: a MetaTensor of shape {tuple(tensor.shape)}, which is not one image (X, Y, Z) or (1, X, Y, Z); "
            "pick a channel."
        )
    affine = np.eye(4)
    size = given.shape[0] - 1
    affine[:size, :size], affine[:size, 3] = given[:size, :size], given[:size, size]
    if str(tensor.meta.get("space", "RAS")).upper().endswith("LPS"):
        affine[:3] = LPS @ affine[:3]
    if not is_usable(affine):
        raise DataError(f"{name}: its affine is not finite and invertible:\n{affine}")
    check_placement(affine, name)
    spacing = tuple(float(value) for value in column_norms(affine)[: array.ndim])
    return Volume(np.ascontiguousarray(array), affine, spacing)
