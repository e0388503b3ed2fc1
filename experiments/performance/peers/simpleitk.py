"""SimpleITK: warp, Jacobian determinant and Dice; it has no gradients and takes one image at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from experiments.performance.inputs import Inputs
from experiments.performance.work import Agreement, Contender, Maker, Work


class SimpleItk(Contender):
    """ITK's filters; conversion of the arrays is not timed."""

    name = "SimpleITK"
    distribution = "SimpleITK"
    module = "SimpleITK"

    def operators(self) -> Mapping[str, Maker]:
        """Forward operators only."""
        return {"warp": _warp, "jacobian": _jacobian, "dice": _dice}


def _itk() -> Any:
    import SimpleITK

    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(torch.get_num_threads())
    return SimpleITK


def _field(itk: Any, field: Tensor) -> Any:
    """Vector image of a displacement (D, *S); ITK counts the last array axis first."""
    vectors = np.ascontiguousarray(field.flip(0).movedim(0, -1).double().numpy())
    return itk.GetImageFromArray(vectors, isVector=True)


def _warp(inputs: Inputs) -> Work:
    itk = _itk()
    images = [itk.GetImageFromArray(image[0].numpy()) for image in inputs.moving.cpu()]
    fields = [_field(itk, field) for field in inputs.displacement.cpu()]
    pairs = list(zip(images, fields, strict=True))

    def run() -> list[Any]:
        return [itk.Warp(image, field, interpolator=itk.sitkLinear) for image, field in pairs]

    def value(found: list[Any]) -> Any:
        return np.stack([itk.GetArrayFromImage(image) for image in found])[:, None]

    margin = int(4 * inputs.amplitude + 1)
    return Work(run, value=value, agreement=Agreement(1e-3, margin=margin, reason="zeros outside"))


def _jacobian(inputs: Inputs) -> Work:
    itk = _itk()
    fields = [_field(itk, field) for field in inputs.displacement.cpu()]

    def run() -> list[Any]:
        return [itk.DisplacementFieldJacobianDeterminant(field) for field in fields]

    def value(found: list[Any]) -> Any:
        return np.stack([itk.GetArrayFromImage(image) for image in found])

    return Work(
        run, value=value, agreement=Agreement(1e-3, margin=1, reason="half differences at the border")
    )


def _dice(inputs: Inputs) -> Work:
    itk = _itk()
    fixed, warped = (
        itk.GetImageFromArray(labels[0, 0].cpu().numpy())
        for labels in (inputs.fixed_labels, inputs.warped_labels)
    )

    def run() -> list[float]:
        measure = itk.LabelOverlapMeasuresImageFilter()
        measure.Execute(fixed, warped)
        return [measure.GetDiceCoefficient(code) for code in range(1, inputs.labels + 1)]

    return Work(run)
