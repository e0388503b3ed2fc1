"""Instance optimisation on real cine slices: every patient gains, nothing folds."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch

from medreg.config.compose import compose
from medreg.config.instantiate import build
from medreg.geometry.derivatives import jacobian_determinant
from medreg.geometry.warp import warp_labels

PATIENTS = ("001", "022", "052", "070", "082")


def slices(folder, patient):
    """Three 128² crops (ED, ES, labels) at the quarter, middle and three-quarter slice with all structures."""
    volumes = [
        np.asanyarray(nib.load(folder / "acdc" / f"patient{patient}_{name}.nii.gz").dataobj)
        for name in ("ed", "es", "ed_gt", "es_gt")
    ]
    complete = [
        z
        for z in range(volumes[0].shape[2])
        if all((labels[:, :, z] == k).sum() > 20 for labels in volumes[2:] for k in (1, 2, 3))
    ]
    n = len(complete)
    for z in sorted({complete[n // 4], complete[n // 2], complete[3 * n // 4]}):
        centre = np.argwhere(volumes[2][:, :, z] == 2).mean(0).round().astype(int)
        low = [
            int(np.clip(c - 64, 0, max(s - 128, 0)))
            for c, s in zip(centre, volumes[0].shape[:2], strict=True)
        ]
        crop = (slice(low[0], low[0] + 128), slice(low[1], low[1] + 128), z)
        yield [torch.from_numpy(volume[crop].astype(np.float32))[None, None] for volume in volumes]


def dice(one, two):
    return float(
        np.mean(
            [2 * ((one == k) & (two == k)).sum() / ((one == k).sum() + (two == k).sum()) for k in (1, 2, 3)]
        )
    )


@pytest.mark.slow
@pytest.mark.data
def test_every_patient_gains_without_folding(shared_data):
    model = build(compose(["model=optimise", "similarity.window=11", "regularisation.weight=1.0"]).model)
    before, after = [], []
    for patient in PATIENTS:
        scores = []
        for fixed, moving, fixed_labels, moving_labels in slices(shared_data, patient):
            u = model(fixed, moving).displacement
            assert jacobian_determinant(u).min() > 0
            scores.append(
                (dice(fixed_labels, moving_labels), dice(fixed_labels, warp_labels(moving_labels, u)))
            )
        start, end = np.mean(scores, axis=0)
        assert end > start + 0.1
        before.append(start)
        after.append(end)
    assert np.mean(before) == pytest.approx(0.627, abs=0.001)
    assert np.mean(after) > 0.89
