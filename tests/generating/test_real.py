"""Hearts of patients go to the grid of a model and back to the voxels of their files."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from hearts_run import hearts_run, stand_in

from medreg.api import complete
from medreg.errors import DataError

ACDC = {"LV": 3, "MYO": 2, "RV": 1}
LITE = {"size": [64, 64, 32], "spacing_mm": [2.5, 2.5, 4.0]}


@pytest.mark.data
def test_patients_come_back_to_their_voxels(shared_data, allowed, tmp_path):
    """The model repeats ED, so that all frames are the file's own but for two resamplings."""
    run = hearts_run(tmp_path / "run", {**stand_in("Beating", frames=2), "size": LITE["size"]}, placing=LITE)
    patients = sorted((shared_data / "acdc_official" / "training").glob("patient*"))[:3]
    if not patients:
        pytest.skip("no patients of ACDC")
    for patient in patients:
        file = min(patient.glob("*_gt.nii.gz"))
        found = complete(file, run, labels=ACDC)[0]
        truth = nib.load(file)
        codes = np.asarray(truth.dataobj)
        assert np.allclose(found.affine, truth.affine)
        assert found.array.shape == (*codes.shape, 2)
        for name, code in ACDC.items():
            a, b = found.array[..., 1] == code, codes == code
            assert 2 * (a & b).sum() / (a.sum() + b.sum()) > (0.85 if name == "MYO" else 0.92), (
                patient.name,
                name,
            )
        with pytest.raises(DataError, match="LV=3,MYO=2,RV=1"):
            complete(file, run, labels={"LV": 1, "MYO": 2, "RV": 3})
