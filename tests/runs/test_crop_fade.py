"""Beyond the crop that a model saw its field fades: exact inside, zero far away, without folds between."""

from __future__ import annotations

import pytest
import torch

from medreg.data.grids import centre_crop
from medreg.geometry.derivatives import jacobian_determinant
from medreg.geometry.grid import Grid
from medreg.runs.scans import PreparedScans


@pytest.mark.parametrize("length", [1.0, 6.0])
def test_a_field_is_kept_inside_the_crop_and_fades_beyond(length):
    image = Grid((80, 70, 60), torch.diag(torch.tensor([2.0, 1.0, 3.0, 1.0], dtype=torch.float64)))
    crop = centre_crop(image, [20, 20, 20])
    prepared = PreparedScans({}, crop, image, image, torch.eye(4, dtype=torch.float64))
    found = prepared.back(torch.full((1, 3, 20, 20, 20), length), None).displacement
    inside = found[..., 30:50, 25:45, 20:40]
    torch.testing.assert_close(inside, torch.full_like(inside, length))
    assert found[..., 0, :, :].abs().max() == 0
    assert found[..., :, :, 0].abs().max() < length
    assert (jacobian_determinant(found) > 0).all()


def test_the_slice_axis_is_that_of_the_file():
    affine = torch.diag(torch.tensor([8.0, 1.0, 1.0, 1.0], dtype=torch.float64))
    turned = Grid((12, 10, 3), affine[:, [1, 2, 0, 3]])
    prepared = PreparedScans({}, turned, Grid((3, 12, 10), affine), turned, torch.eye(4, dtype=torch.float64))
    field = torch.zeros(1, 3, 12, 10, 3)
    field[:, 0] = 1.0
    back = prepared.back(field, 2)
    assert back.slice_axis == 0
    assert back.displacement[0, 1].unique().tolist() == [1.0]
    assert back.displacement[0, [0, 2]].abs().max() == 0
