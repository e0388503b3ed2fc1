"""Between arrays of a worker and images of ITK itself, geometry included (runs in the tool's environment)."""

from __future__ import annotations

from typing import Any

import itk
import numpy as np
from serving import CaseImage


def itk_image(picture: CaseImage, values: np.ndarray | None = None) -> Any:
    """Return the ITK image of a picture, or of other values on its grid."""
    image = itk.image_from_array(np.ascontiguousarray((picture.array if values is None else values).T))
    image.SetSpacing([float(value) for value in picture.spacing])
    image.SetOrigin([float(value) for value in picture.origin])
    image.SetDirection(itk.matrix_from_array(np.ascontiguousarray(picture.direction)))
    return image


def xyz(image: Any) -> np.ndarray:
    """Return the array (X, Y, Z), or (X, Y, Z, 3) of a vector image."""
    return np.swapaxes(itk.array_from_image(image), 0, 2)
