"""Between arrays of a worker and SimpleITK images, geometry included (runs in the tool's environment)."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk
from serving import CaseImage


def to_image(picture: CaseImage) -> Any:
    """Return the SimpleITK image of an array (X, Y, Z) with spacing, origin and direction."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(picture.array.T))
    image.SetSpacing([float(value) for value in picture.spacing])
    image.SetOrigin([float(value) for value in picture.origin])
    image.SetDirection([float(value) for value in picture.direction.ravel()])
    return image


def to_mask(picture: CaseImage) -> Any:
    """Return the mask of an image as a SimpleITK image of 0 and 1, None where it has none."""
    if picture.mask is None:
        return None
    image = sitk.GetImageFromArray(np.ascontiguousarray(picture.mask.T))
    image.CopyInformation(to_image(picture))
    return image


def from_image(image: Any) -> np.ndarray:
    """Return the array (X, Y, Z), or (X, Y, Z, 3) of a vector image."""
    array = sitk.GetArrayFromImage(image)
    return np.ascontiguousarray(np.swapaxes(array, 0, 2))


def warp(moving: Any, fixed: Any, field: Any) -> np.ndarray:
    """Return the moving image through a displacement field as ITK itself applies it; zero outside."""
    # The transform takes the image that it is given, so it gets a copy.
    transform = sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64))
    return from_image(sitk.Resample(moving, fixed, transform, sitk.sitkLinear, 0.0))
