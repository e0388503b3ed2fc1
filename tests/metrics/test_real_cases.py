"""Metrics of real cardiac slices equal SimpleITK's and MONAI's on the same arrays."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.metrics import compute_hausdorff_distance

from medreg.metrics.evaluator import CaseEvaluator

ACDC = {"RV": 1, "MYO": 2, "LV": 3}


def slices(path):
    """(N, 1, X, Y) labels."""
    volume = np.asarray(nib.load(path).dataobj).astype(np.int64)
    return torch.from_numpy(np.moveaxis(volume, -1, 0).copy())[:, None]


@pytest.mark.data
@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy.*:FutureWarning")  # inside monai 1.6
def test_unregistered_acdc_patient(shared_data):
    folder = shared_data / "acdc"
    fixed, moving = (slices(folder / f"patient001_{phase}_gt.nii.gz") for phase in ("ed", "es"))
    batch = {"fixed_label": fixed, "moving_label": moving, "spacing_mm": torch.tensor([[1.4, 1.2]])}
    zero = torch.zeros(len(fixed), 2, *fixed.shape[2:])
    rows = {(row.structure, row.metric): row.value for row in CaseEvaluator(ACDC)(batch, zero)}
    itk_rows = CaseEvaluator(ACDC, surface_definition="itk_avg_hd")(batch, zero)
    itk = {(row.structure, row.metric): row.value for row in itk_rows}
    overlap, distance = sitk.LabelOverlapMeasuresImageFilter(), sitk.HausdorffDistanceImageFilter()
    overlap.Execute(
        *(sitk.GetImageFromArray(part[:, 0].numpy().astype(np.uint8)) for part in (fixed, moving))
    )
    for name, code in ACDC.items():
        assert rows[name, "dice"] == pytest.approx(overlap.GetDiceCoefficient(code), abs=1e-9)
        hd95, maximum, average = [], [], []
        for pair in zip(fixed[:, 0] == code, moving[:, 0] == code, strict=True):
            if not all(mask.any() for mask in pair):
                continue
            one_hot = [mask[None, None].float() for mask in pair]
            spacing = [1.4, 1.2]
            hd95.append(compute_hausdorff_distance(*one_hot, True, percentile=95, spacing=spacing).item())
            images = [sitk.GetImageFromArray(mask.numpy().astype(np.uint8)) for mask in pair]
            for image in images:
                image.SetSpacing(spacing[::-1])
            distance.Execute(*images)
            maximum.append(distance.GetHausdorffDistance())
            average.append(distance.GetAverageHausdorffDistance())
        assert len(hd95) >= 6
        assert rows[name, "hd95_mm"] == pytest.approx(np.mean(hd95), rel=1e-5)
        assert itk[name, "hd_mm"] == pytest.approx(np.mean(maximum), rel=1e-5)
        assert itk[name, "itk_avg_hd_mm"] == pytest.approx(np.mean(average), rel=1e-5)
