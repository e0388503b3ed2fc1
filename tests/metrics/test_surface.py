"""Surface distances: closed forms, brute force, MONAI, SimpleITK and the surface-distance package."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance
from scipy import ndimage
from scipy.spatial.distance import cdist

from medreg.metrics import surface, surfel


def square(shape, *ranges):
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(start, stop) for start, stop in ranges)] = True
    return mask


def blob(shape, seed, threshold=0.0):
    noise = np.random.default_rng(seed).normal(size=shape)
    return ndimage.gaussian_filter(noise, 1.5, mode="constant") > threshold


SHIFTED = square((30, 30), (5, 15), (5, 15)), square((30, 30), (7, 17), (5, 15))
NESTED = square((40, 40), (15, 25), (15, 25)), square((40, 40), (10, 30), (12, 28))


def test_shifted_squares_have_the_known_distances():
    found = surface.surface_distances(*SHIFTED, spacing_mm=(1, 1))
    assert (found.hd_mm, found.assd_mm) == (2.0, pytest.approx(1.0))
    itk = surface.itk_hausdorff(*SHIFTED, spacing_mm=(1, 1))
    assert (itk.maximum_mm, itk.average_mm) == (2.0, pytest.approx(0.3))


def test_nested_objects_have_the_known_itk_distances():
    found = surface.itk_hausdorff(*NESTED, spacing_mm=(1, 1))
    assert found.maximum_mm == pytest.approx(5.830952, abs=1e-6)
    assert found.average_mm == pytest.approx(1.008772, abs=1e-6)
    assert surface.itk_average_hausdorff(*NESTED, spacing_mm=(1, 1)) == found.average_mm


@pytest.mark.parametrize(("spacing", "expected"), [((3.0, 1.0), 6.0), ((1.0, 3.0), 2.0)])
def test_spacing_belongs_to_its_own_axis(spacing, expected):
    assert surface.hd_mm(*SHIFTED, spacing_mm=spacing) == expected
    assert surface.itk_hausdorff(*SHIFTED, spacing_mm=spacing).maximum_mm == expected


def test_disjoint_boxes_are_their_separation_apart():
    pair = square((20, 8, 8), (2, 4), (2, 6), (2, 6)), square((20, 8, 8), (12, 14), (2, 6), (2, 6))
    for measure in (surface.hd_mm, surface.hd95_mm, surface.assd_mm):
        assert measure(*pair, spacing_mm=(1, 1, 1)) >= 9
    assert surface.hd_mm(*pair, spacing_mm=(1, 1, 1)) == 10


@pytest.mark.parametrize("shape", [(23, 19), (14, 13, 11)])
def test_equals_brute_force_over_eroded_surfaces(shape):
    first, second, spacing = blob(shape, 0), blob(shape, 1), np.linspace(0.7, 2.2, len(shape))
    edges = [mask & ~ndimage.binary_erosion(mask) for mask in (first, second)]
    table = cdist(*(np.argwhere(edge) * spacing for edge in edges))
    there, back = table.min(axis=1), table.min(axis=0)
    found = surface.surface_distances(first, second, spacing_mm=spacing)
    np.testing.assert_allclose(found.first_to_second, there, atol=1e-12)
    np.testing.assert_allclose(found.second_to_first, back, atol=1e-12)
    assert found.hd_mm == pytest.approx(max(there.max(), back.max()))
    assert found.hd95_mm == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)))
    assert found.assd_mm == pytest.approx((there.sum() + back.sum()) / (there.size + back.size))


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy.*:FutureWarning")  # inside monai 1.6
@pytest.mark.parametrize("shape", [(25, 21), (16, 14, 12)])
def test_equals_monai(shape):
    first, second, spacing = blob(shape, 2), blob(shape, 3), [1.3, 0.8, 2.0][: len(shape)]
    pair = [torch.from_numpy(mask)[None, None].float() for mask in (first, second)]
    for percent, measure in ((95, surface.hd95_mm), (None, surface.hd_mm)):
        reference = compute_hausdorff_distance(
            *pair, include_background=True, percentile=percent, spacing=spacing
        )
        assert measure(first, second, spacing_mm=spacing) == pytest.approx(reference.item(), rel=1e-5)
    reference = compute_average_surface_distance(
        *pair, include_background=True, symmetric=True, spacing=spacing
    )
    assert surface.assd_mm(first, second, spacing_mm=spacing) == pytest.approx(reference.item(), rel=1e-5)


@pytest.mark.parametrize("shape", [(25, 21), (16, 14, 12)])
def test_itk_distances_equal_simpleitk(shape):
    first, second, spacing = blob(shape, 4), blob(shape, 5), [1.3, 0.8, 2.0][: len(shape)]
    images = [sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in (first, second)]
    for image in images:
        image.SetSpacing(spacing[::-1])  # SimpleITK's axes run the other way
    reference = sitk.HausdorffDistanceImageFilter()
    reference.Execute(*images)
    found = surface.itk_hausdorff(first, second, spacing_mm=spacing)
    assert found.maximum_mm == pytest.approx(reference.GetHausdorffDistance(), rel=1e-5)
    assert found.average_mm == pytest.approx(reference.GetAverageHausdorffDistance(), rel=1e-5)


def test_offset_cubes_have_the_average_distance_of_simpleitks_contours():
    """½ [mean of d(∂A, ∂B) + mean of d(∂B, ∂A)] over foreground voxels with a face-connected neighbour outside."""
    first = square((24, 22, 20), (4, 14), (4, 14), (4, 14))
    second = square((24, 22, 20), (7, 17), (6, 16), (5, 15))
    spacing = (1.5, 0.8, 2.0)
    contours = []
    for mask in (first, second):
        image = sitk.GetImageFromArray(mask.astype(np.uint8))
        image.SetSpacing(spacing[::-1])
        contours.append(sitk.LabelContour(image, fullyConnected=False))
    reference = sitk.HausdorffDistanceImageFilter()
    reference.Execute(*contours)
    found = surface.surface_distances(first, second, spacing_mm=spacing)
    average = 0.5 * (found.first_to_second.mean() + found.second_to_first.mean())
    assert average == pytest.approx(reference.GetAverageHausdorffDistance(), abs=1e-4)
    assert found.assd_mm == pytest.approx(average, abs=1e-4)  # cubes of one size: pooled or not is the same
    assert found.hd_mm == pytest.approx(reference.GetHausdorffDistance(), abs=1e-4)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.3, 0.8, 2.0), (1.0, 1.0), (0.7, 1.9)])
def test_surfel_hd95_equals_the_surface_distance_package(spacing):
    shape = (16, 14, 12)[: len(spacing)]
    first, second = blob(shape, 6), blob(shape, 7)
    with warnings.catch_warnings():  # the package uses names that scipy has deprecated
        warnings.simplefilter("ignore")
        from surface_distance import metrics as reference

        distances = reference.compute_surface_distances(first, second, spacing)
        expected = reference.compute_robust_hausdorff(distances, 95)
    assert surfel.hd95_mm(first, second, spacing_mm=spacing) == pytest.approx(expected, rel=1e-9)


def test_identical_structures_are_at_distance_zero():
    mask = blob((12, 11, 10), 8)
    found = surface.surface_distances(mask, mask, spacing_mm=(1, 1, 1))
    assert (found.hd_mm, found.hd95_mm, found.assd_mm) == (0, 0, 0)
    assert surfel.hd95_mm(mask, mask, spacing_mm=(1, 1, 1)) == 0


def test_empty_structures_have_no_distance():
    full, empty = square((9, 9), (2, 5), (2, 5)), np.zeros((9, 9), dtype=bool)
    for pair in ((full, empty), (empty, full), (empty, empty)):
        found = surface.surface_distances(*pair, spacing_mm=(1, 1))
        itk = surface.itk_hausdorff(*pair, spacing_mm=(1, 1))
        for value in (found.hd_mm, found.hd95_mm, found.assd_mm, itk.maximum_mm, itk.average_mm):
            assert math.isnan(value)
        assert math.isnan(surfel.hd95_mm(*pair, spacing_mm=(1, 1)))


def test_surface_includes_voxels_at_the_image_border():
    mask = np.ones((4, 5), dtype=bool)
    expected = np.ones((4, 5), dtype=bool)
    expected[1:3, 1:4] = False
    np.testing.assert_array_equal(surface.boundary(mask), expected)


def test_structure_masks_are_cropped_pairs_in_order():
    rng = np.random.default_rng(9)
    fixed, warped = rng.integers(0, 4, (8, 7, 6)), rng.integers(0, 4, (8, 7, 6))
    fixed[fixed == 2] = 0
    warped[warped == 2] = 0
    pairs = list(surface.structure_masks(fixed, warped, 3))
    assert [int(first.sum()) for first, _ in pairs] == [int((fixed == code).sum()) for code in (1, 2, 3)]
    assert [int((a & b).sum()) for a, b in pairs] == [
        int(((fixed == code) & (warped == code)).sum()) for code in (1, 2, 3)
    ]
    assert pairs[1][0].size == 0


def test_cropping_does_not_change_a_distance():
    fixed, warped = np.zeros((2, 30, 30), dtype=np.int16)
    fixed[SHIFTED[0]], warped[SHIFTED[1]] = 1, 1
    cropped = next(surface.structure_masks(fixed, warped, 1))
    assert cropped[0].shape == (12, 10)
    assert surface.hd95_mm(*cropped, spacing_mm=(2, 1)) == surface.hd95_mm(*SHIFTED, spacing_mm=(2, 1))


@pytest.mark.parametrize("form", ["kernel", "off"])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 1.3, 4.0)])
def test_near_and_far_points_get_the_distance_of_the_transform(monkeypatch, form, spacing):
    """Within 6 voxels, within 14 and beyond: three ways to the same number."""
    monkeypatch.setenv("MEDREG_KERNELS", form)
    generator = np.random.default_rng(0)
    sources, targets = generator.random((2, 12, 14, 70)) > 0.9
    targets[..., 30:] = False
    expected = ndimage.distance_transform_edt(~targets, sampling=spacing)[sources]
    assert expected.max() > 14 * min(spacing)
    np.testing.assert_allclose(surface.nearest_mm(sources, targets, spacing), expected, rtol=1e-12)
