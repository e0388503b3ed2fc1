"""Label maps of real scans make the way to a network and back, on real headers."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from segmentation_run import GREY, LABELS, dice, perfect_run

from medreg.api import segment


@pytest.mark.parametrize(("spacing", "least"), [(1.36719, 0.95), (1.8, 0.91)])
def test_hearts_keep_their_structures_and_headers(tmp_path, shared_data, spacing, least):
    """The grey values are those of the labels, so that the network is perfect and the way alone is judged."""
    run = perfect_run(tmp_path / "run", spacing_mm=[spacing, spacing, None], size=[224, 224])
    for number, file in enumerate(sorted((shared_data / "acdc").glob("*_gt.nii.gz"))[:3]):
        truth = nib.load(file)
        codes = np.asarray(truth.dataobj).astype(int)
        grey = np.vectorize(GREY.get)(codes).astype(np.float32)
        header = truth.header.copy()
        header.set_data_dtype(np.float32)
        nib.Nifti1Image(grey, None, header).to_filename(tmp_path / "image.nii.gz")
        target = tmp_path / f"seg{number}.nii.gz"
        found = segment(tmp_path / "image.nii.gz", run, labels=file, output=target)
        assert min(dice(found.array, codes, code) for code in LABELS.values()) > least
        blood = [np.argwhere(array == LABELS["LV"]).mean(0) for array in (found.array, codes)]
        assert np.abs(blood[0] - blood[1]).max() < 0.15  # voxels: nothing is shifted
        written = nib.load(target)
        assert np.array_equal(written.affine, truth.affine)
        assert [int(written.header[f"{form}_code"]) for form in ("sform", "qform")] == [
            int(truth.header[f"{form}_code"]) for form in ("sform", "qform")
        ]
