"""elastix through itk-elastix: the parameter maps of the settings, one after the other (Klein et al. 2010)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from serving import Answer, CaseImage, Register, serve


def load() -> Register:
    """Import ITK with elastix."""
    import itk

    # The attribute is loaded lazily; asking for it shows whether elastix itself is installed.
    if not hasattr(itk, "elastix_registration_method"):
        raise ImportError("itk is installed without itk-elastix")
    return register


def register(fixed: CaseImage, moving: CaseImage, settings: Mapping[str, Any]) -> Answer:
    """Register with elastix and ask transformix for the field.

    Args:
        fixed: fixed image.
        moving: moving image.
        settings: stages, each a default map (name, resolutions) with parameters changed; threads is not handed on,
            because naming the number of threads ends the B-spline stage of itk-elastix 0.23 to 0.25.4 in a
            segmentation fault. The number is limited by ITK's environment variable instead.
    """
    import itk

    target, source = _image(itk, fixed), _image(itk, moving)
    stages = itk.ParameterObject.New()
    for stage in settings["stages"]:
        values = stages.GetDefaultParameterMap(stage["map"], int(stage["resolutions"]))
        for name, value in stage["parameters"].items():
            values[name] = [str(item) for item in (value if isinstance(value, list) else [value])]
        stages.AddParameterMap(values)
    masks = {}
    if fixed.mask is not None and moving.mask is not None:
        masks = {
            "fixed_mask": _image(itk, fixed, fixed.mask),
            "moving_mask": _image(itk, moving, moving.mask),
        }
    warped, transform = itk.elastix_registration_method(
        target, source, parameter_object=stages, log_to_console=False, **masks
    )
    field = itk.array_from_image(itk.transformix_deformation_field(source, transform))
    return Answer(np.swapaxes(field, 0, 2), "lps_mm", np.swapaxes(itk.array_from_image(warped), 0, 2))


def _image(itk: Any, picture: CaseImage, values: np.ndarray | None = None) -> Any:
    """ITK image of a picture, or of other values on its grid."""
    image = itk.image_from_array(np.ascontiguousarray((picture.array if values is None else values).T))
    image.SetSpacing([float(value) for value in picture.spacing])
    image.SetOrigin([float(value) for value in picture.origin])
    image.SetDirection(itk.matrix_from_array(np.ascontiguousarray(picture.direction)))
    return image


if __name__ == "__main__":
    serve(load)
