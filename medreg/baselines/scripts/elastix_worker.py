"""elastix through itk-elastix: the parameter maps of the settings, one after the other (Klein et al. 2010)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
    from itk_arrays import itk_image, xyz

    target, source = itk_image(fixed), itk_image(moving)
    stages = itk.ParameterObject.New()
    for stage in settings["stages"]:
        values = stages.GetDefaultParameterMap(stage["map"], int(stage["resolutions"]))
        for name, value in stage["parameters"].items():
            values[name] = [str(item) for item in (value if isinstance(value, list) else [value])]
        stages.AddParameterMap(values)
    masks = {}
    if fixed.mask is not None and moving.mask is not None:
        masks = {
            "fixed_mask": itk_image(fixed, fixed.mask),
            "moving_mask": itk_image(moving, moving.mask),
        }
    warped, transform = itk.elastix_registration_method(
        target, source, parameter_object=stages, log_to_console=False, **masks
    )
    return Answer(xyz(itk.transformix_deformation_field(source, transform)), "lps_mm", xyz(warped))


if __name__ == "__main__":
    serve(load)
