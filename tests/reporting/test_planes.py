from __future__ import annotations

import numpy as np
import pytest

from medreg.reporting.planes import crop, jacobian_determinant, pair_arrays, planes_of
from medreg.reporting.views import axis_codes, choose_slices


def pair(shape, displacement=None, *, spacing=None, **labels):
    image = np.arange(np.prod(shape), dtype=float).reshape(shape)
    displacement = np.zeros((len(shape), *shape)) if displacement is None else displacement
    spacing = spacing or (1.0,) * len(shape)
    return pair_arrays(
        image, image, warped=image, displacement=displacement, spacing_mm=spacing, labels=labels
    )


def test_jacobian_of_a_scaling_is_its_determinant():
    grid = np.indices((6, 7, 8)).astype(float)
    scale = np.array([0.5, 0.1, -0.2]).reshape(3, 1, 1, 1)
    np.testing.assert_allclose(jacobian_determinant(scale * grid), 1.5 * 1.1 * 0.8)


def test_jacobian_of_a_reflection_is_negative():
    grid = np.indices((6, 7)).astype(float)
    np.testing.assert_allclose(jacobian_determinant(np.stack([-2 * grid[0], np.zeros((6, 7))])), -1.0)


def test_jacobian_near_a_plane_equals_that_of_the_whole_volume():
    displacement = np.random.default_rng(0).normal(0, 0.2, (3, 7, 6, 5))
    volume = pair((7, 6, 5), displacement)
    whole = jacobian_determinant(displacement)
    given = planes_of(pair_with_jacobian(volume, whole), orientation="RAS", slices=1)
    for computed, expected in zip(planes_of(volume, orientation="RAS", slices=1), given, strict=True):
        np.testing.assert_allclose(computed.jacobian, expected.jacobian)


def pair_with_jacobian(volume, jacobian):
    images = volume.images
    return pair_arrays(
        images["fixed"],
        images["moving"],
        warped=images["warped"],
        displacement=volume.displacement,
        spacing_mm=volume.spacing_mm,
        labels={},
        jacobian=jacobian,
    )


def test_single_slice_is_shown_in_stored_order():
    (plane,) = planes_of(pair((4, 3), spacing=(2.0, 5.0)), orientation=None, slices=1)
    np.testing.assert_array_equal(plane.images["fixed"], np.arange(12).reshape(4, 3).T)
    assert plane.spacing_mm == (5.0, 2.0)
    assert plane.letters == ()


def test_volume_is_shown_with_the_patients_right_on_the_left():
    planes = planes_of(pair((5, 6, 7)), orientation="RAS", slices=1)
    assert [plane.name.split()[0] for plane in planes] == ["axial", "coronal", "sagittal"]
    axial, coronal, sagittal = planes
    assert axial.letters == ("R", "L", "A", "P")
    assert coronal.letters == ("R", "L", "S", "I")
    assert sagittal.letters == ("A", "P", "S", "I")
    index = int(axial.name.split()[1])
    volume = np.arange(5 * 6 * 7).reshape(5, 6, 7)
    assert axial.images["fixed"][0, 0] == volume[4, 5, index]  # most right, most anterior


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PIR", "SAL"])
def test_every_orientation_shows_the_same_picture(codes):
    volume = np.random.default_rng(0).normal(size=(5, 6, 7))  # R, A, S
    axes = ["RAS".index({"L": "R", "P": "A", "I": "S"}.get(code, code)) for code in codes]
    turned = np.flip(volume.transpose(axes), [i for i, code in enumerate(codes) if code not in "RAS"])
    label = np.zeros(turned.shape, int)
    label[tuple(size // 2 for size in turned.shape)] = 1
    images = {"warped": turned, "spacing_mm": (1, 1, 1), "labels": {"fixed": label}}
    found = pair_arrays(turned, turned, displacement=np.zeros((3, *turned.shape)), **images)
    for plane in planes_of(found, orientation=codes, slices=1):
        assert plane.letters[0] in "RA"
        assert plane.letters[2] in "AS"
    axial = planes_of(found, orientation=codes, slices=1)[0].images["fixed"]
    centre = 7 // 2
    np.testing.assert_array_equal(axial, volume[::-1, ::-1, centre].T)


def test_position_follows_the_displacement_through_flips():
    displacement = np.zeros((3, 5, 6, 7))
    displacement[0] = 1.0  # one voxel towards R
    axial, coronal, sagittal = planes_of(pair((5, 6, 7), displacement), orientation="RAS", slices=1)
    columns = np.indices(axial.jacobian.shape)[1]
    np.testing.assert_allclose(axial.position[1] - columns, -1.0)  # R is on the left of the screen
    np.testing.assert_allclose(coronal.position[0] - np.indices(coronal.jacobian.shape)[0], 0.0)
    np.testing.assert_allclose(sagittal.magnitude_mm, 1.0)  # through the plane, but there


def test_magnitude_is_in_mm():
    displacement = np.zeros((2, 4, 4))
    displacement[0], displacement[1] = 3.0, 2.0
    (plane,) = planes_of(pair((4, 4), displacement, spacing=(1.0, 2.0)), orientation=None, slices=1)
    np.testing.assert_allclose(plane.magnitude_mm, 5.0)


def test_stack_shows_the_labelled_slices():
    label = np.zeros((9, 4, 4), int)
    label[3:6, 1, 1] = 1
    image = np.ones((9, 4, 4))
    stack = pair_arrays(
        image,
        image,
        warped=image,
        displacement=np.zeros((9, 2, 4, 4)),
        spacing_mm=(1, 1, 8),
        labels={"fixed": label},
    )
    assert stack.is_stack
    assert choose_slices(stack.labels["fixed"], 3) == [3, 4, 5]
    assert [plane.name for plane in planes_of(stack, orientation=None, slices=2)] == ["slice 3", "slice 5"]


def test_leading_axis_of_one_is_dropped():
    image = np.ones((1, 4, 5))
    found = pair_arrays(
        image,
        image,
        warped=image,
        displacement=np.zeros((1, 2, 4, 5)),
        spacing_mm=(1, 1),
        labels={"fixed": None},
    )
    assert (found.ndim, found.is_stack, found.images["fixed"].shape) == (2, False, (4, 5))


def test_shapes_that_cannot_belong_together_are_refused():
    image = np.ones((4, 5))
    with pytest.raises(ValueError, match="moving has shape"):
        pair_arrays(
            image, image.T, warped=image, displacement=np.zeros((2, 4, 5)), spacing_mm=(1, 1), labels={}
        )
    with pytest.raises(ValueError, match="displacement has shape"):
        pair_arrays(
            image, image, warped=image, displacement=np.zeros((4, 5, 2)), spacing_mm=(1, 1), labels={}
        )


def test_crop_keeps_labels_with_a_margin_in_mm():
    label = np.zeros((20, 30), int)
    label[10, 15] = 1
    planes = planes_of(pair((20, 30), spacing=(1.0, 2.0), fixed=label), orientation=None, slices=1)
    (cropped,) = crop(planes, margin_mm=4.0)
    assert cropped.jacobian.shape == (5, 9)
    assert cropped.labels["fixed"].sum() == 1
    np.testing.assert_allclose(cropped.position, np.indices((5, 9)))


def test_axis_codes_of_oblique_and_flipped_grids():
    assert axis_codes(np.diag([-1.0, -1.0, 8.0, 1.0])) == "LPS"
    turn = np.deg2rad(30)
    oblique = np.eye(4)
    oblique[:3, :3] = [[0, np.cos(turn), np.sin(turn)], [-1, 0, 0], [0, -np.sin(turn), np.cos(turn)]]
    assert axis_codes(oblique) == "PRS"
