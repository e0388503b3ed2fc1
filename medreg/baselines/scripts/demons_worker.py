"""SimpleITK's diffeomorphic demons, coarse to fine, after histogram matching (Vercauteren et al. 2009)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serving import Answer, CaseImage, importing, serve


def register(fixed: CaseImage, moving: CaseImage, settings: Mapping[str, Any]) -> Answer:
    """Register by demons on every level, the field of one the start of the next.

    Args:
        fixed: fixed image.
        moving: moving image.
        settings: levels (shrink, sigma in mm, iterations), smoothing (standard deviation of the field, voxels of
            the level), histogram_bins and match_points of the matching, threads.
    """
    import SimpleITK as sitk
    from itk_pictures import from_image, to_image, warp

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(int(settings["threads"]))
    target, source = to_image(fixed), to_image(moving)
    matched = sitk.HistogramMatching(
        source, target, int(settings["histogram_bins"]), int(settings["match_points"]), True
    )
    field: Any = None
    for level in settings["levels"]:
        small = _shrunk(sitk, target, level)
        other = sitk.Resample(_shrunk(sitk, matched, level), small)
        demons = sitk.DiffeomorphicDemonsRegistrationFilter()
        demons.SetNumberOfIterations(int(level["iterations"]))
        demons.SetSmoothDisplacementField(True)
        demons.SetStandardDeviations(float(settings["smoothing"]))
        demons.SetNumberOfThreads(int(settings["threads"]))
        if field is None:
            field = demons.Execute(small, other)
        else:
            start = sitk.Cast(sitk.Resample(field, small), sitk.sitkVectorFloat64)
            field = demons.Execute(small, other, start)
    field = sitk.Resample(field, target)
    return Answer(from_image(field), "lps_mm", warp(source, target, field))


def _shrunk(sitk: Any, image: Any, level: Mapping[str, float]) -> Any:
    if level["sigma"]:
        image = sitk.SmoothingRecursiveGaussian(image, float(level["sigma"]))
    return sitk.Shrink(image, [int(level["shrink"])] * 3) if level["shrink"] > 1 else image


if __name__ == "__main__":
    serve(importing(register, "itk_pictures"))
