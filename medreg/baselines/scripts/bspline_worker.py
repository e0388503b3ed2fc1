"""SimpleITK's registration framework with a B-spline transform: Mattes mutual information, L-BFGS, coarse to fine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serving import Answer, CaseImage, importing, serve


def register(fixed: CaseImage, moving: CaseImage, settings: Mapping[str, Any]) -> Answer:
    """Register by a B-spline whose mesh is refined from level to level.

    Args:
        fixed: fixed image.
        moving: moving image.
        settings: mesh_voxels (voxels per mesh cell of the coarsest level), mesh_scales, shrinks, sigmas (voxels),
            bins, sampling (share of voxels, 1 = all), seed, iterations, accuracy, tolerance, threads.
    """
    import SimpleITK as sitk
    from itk_pictures import from_image, to_image, to_mask, warp

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(int(settings["threads"]))
    target, source = to_image(fixed), to_image(moving)
    mesh = [max(1, round(size / float(settings["mesh_voxels"]))) for size in target.GetSize()]
    method = sitk.ImageRegistrationMethod()
    method.SetInitialTransformAsBSpline(
        sitk.BSplineTransformInitializer(target, mesh),
        inPlace=True,
        scaleFactors=[int(scale) for scale in settings["mesh_scales"]],
    )
    method.SetMetricAsMattesMutualInformation(int(settings["bins"]))
    if fixed.mask is not None:
        method.SetMetricFixedMask(to_mask(fixed))
        method.SetMetricMovingMask(to_mask(moving))
    if settings["sampling"] < 1:
        method.SetMetricSamplingStrategy(method.RANDOM)
        method.SetMetricSamplingPercentage(float(settings["sampling"]), int(settings["seed"]))
    method.SetInterpolator(sitk.sitkLinear)
    method.SetShrinkFactorsPerLevel([int(shrink) for shrink in settings["shrinks"]])
    method.SetSmoothingSigmasPerLevel([float(sigma) for sigma in settings["sigmas"]])
    method.SetSmoothingSigmasAreSpecifiedInPhysicalUnits(False)
    method.SetOptimizerAsLBFGS2(
        solutionAccuracy=float(settings["accuracy"]),
        numberOfIterations=int(settings["iterations"]),
        deltaConvergenceTolerance=float(settings["tolerance"]),
    )
    method.SetNumberOfThreads(int(settings["threads"]))
    transform = method.Execute(target, source)
    field = sitk.TransformToDisplacementField(
        transform,
        sitk.sitkVectorFloat64,
        target.GetSize(),
        target.GetOrigin(),
        target.GetSpacing(),
        target.GetDirection(),
    )
    return Answer(from_image(field), "lps_mm", warp(source, target, field))


if __name__ == "__main__":
    serve(importing(register, "itk_pictures"))
