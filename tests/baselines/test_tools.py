"""Every tool's field, in our convention, warps the moving image as the tool itself does, on an oriented grid.

Tools that live in environments of their own run where these are named (`MEDREG_ENV_GREEDY=…`), and skip elsewhere.
"""

from __future__ import annotations

import numpy as np
import pytest
from oriented_pair import arrays, oriented_affine, pulled
from tool_worker import ask, check

from medreg.baselines.conversion import to_voxels
from medreg.errors import FieldFormatError, MissingExtra

QUICK = {
    "sitk_demons": ["methods.sitk_demons.settings.levels=[{shrink: 2, sigma: 1.0, iterations: 40}]"],
    "sitk_bspline": [
        f"methods.sitk_bspline.settings.{change}"
        for change in (
            "mesh_voxels=14",
            "mesh_scales=[1]",
            "shrinks=[1]",
            "sigmas=[1.0]",
            "bins=20",
            "sampling=0.2",
            "iterations=8",
            "accuracy=1e-6",
            "tolerance=1e-6",
        )
    ],
}
# elastix: linear interpolation like ours; others: fewer steps.
ELSEWHERE_OPTIONS = {
    "elastix": [
        "methods.elastix.settings.stages=[{map: bspline, resolutions: 2, "
        "parameters: {FinalBSplineInterpolationOrder: 1}}]"
    ],
    "fireants": ["methods.fireants.settings.shrinks=[1]", "methods.fireants.settings.iterations=[40]"],
    "ants_syn_cc": ["methods.ants_syn_cc.settings.options.reg_iterations=[20,10]"],
}
ELSEWHERE = ("elastix", "convexadam", "greedy", "ants_syn_cc", "ants_syn_mi", "fireants", "unigradicon")


@pytest.mark.parametrize("method", QUICK)
def test_field_warps_as_the_tool_does(method, tmp_path):
    pytest.importorskip("SimpleITK")
    check(method, *ask(method, tmp_path, *QUICK[method]))


@pytest.mark.slow
@pytest.mark.parametrize("method", ELSEWHERE)
def test_field_of_a_tool_elsewhere_warps_as_the_tool_does(method, tmp_path):
    try:
        found = ask(method, tmp_path, *ELSEWHERE_OPTIONS.get(method, ()))
    except MissingExtra as error:
        pytest.skip(str(error).splitlines()[0])
    check(method, *found)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["sitk_bspline", *ELSEWHERE[:-1]])
def test_masks_reach_the_tool(method, tmp_path):
    options = QUICK.get(method, ELSEWHERE_OPTIONS.get(method, ()))
    try:
        whole, _ = ask(method, tmp_path, *options)
        masked, _ = ask(method, tmp_path, *options, masks=True)
    except MissingExtra as error:
        pytest.skip(str(error).splitlines()[0])
    fixed, moving, _ = arrays()
    inside = (slice(8, -8), slice(10, -10), slice(8, -8))
    before = np.abs(fixed - moving)[inside].mean()
    assert np.abs(fixed - pulled(moving, masked))[inside].mean() < 0.8 * before
    assert np.abs(masked - whole).max() > 0.05


def test_identity_is_zero(tmp_path):
    field, _ = ask("identity", tmp_path)
    assert not field.any()


def test_conversions_agree_on_one_motion():
    """The same motion told in three conventions, on the oriented grid, is one field in voxels."""
    affine = oriented_affine()
    u = arrays()[2]
    shape = u.shape[1:]
    index = np.indices(shape, dtype=float)
    start, end = (np.einsum("ij,jxyz->ixyz", affine[:3, :3], p) for p in (index, index + u))
    lps = (end - start) * np.array([-1.0, -1.0, 1.0]).reshape(3, 1, 1, 1)
    normalised = np.stack([2 * u[a] / (shape[a] - 1) for a in (2, 1, 0)])
    for convention, given in (("voxel", u), ("lps_mm", lps), ("normalised", normalised)):
        found = to_voxels(np.moveaxis(given, 0, -1), convention, affine=affine, moving_shape=shape)
        np.testing.assert_allclose(found, u, atol=1e-9, err_msg=convention)


def test_normalised_coordinates_of_a_larger_moving_image():
    """Sampling the same normalised place of an image of 21 voxels instead of 11 is twice the index."""
    still = np.zeros((11, 11, 11, 3))
    field = to_voxels(still, "normalised", affine=np.eye(4), moving_shape=(21, 11, 11))
    np.testing.assert_allclose(field[0, :, 0, 0], np.arange(11.0), atol=1e-12)
    assert np.abs(field[1:]).max() < 1e-12


@pytest.mark.parametrize(
    ("field", "convention", "told"),
    [
        (np.zeros((4, 4, 4)), "voxel", "shape"),
        (np.full((4, 4, 4, 3), np.nan), "voxel", "NaN"),
        (np.zeros((4, 4, 4, 3)), "ras_cm", "ras_cm"),
    ],
)
def test_answers_that_are_no_field(field, convention, told):
    with pytest.raises(FieldFormatError, match=told):
        to_voxels(field, convention, affine=np.eye(4), moving_shape=(4, 4, 4))
