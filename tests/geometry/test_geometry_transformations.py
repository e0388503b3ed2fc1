"""What every transformation promises: shapes, identity, inverse, change of grid, projection, derivatives."""

import pickle

import pytest
import torch

from medreg.geometry.affine import Affine, Rigid
from medreg.geometry.compose import compose, resize_displacement
from medreg.geometry.dense import Dense
from medreg.geometry.ffd import FreeForm, FreeFormVelocity
from medreg.geometry.grid import identity_grid
from medreg.geometry.svf import StationaryVelocity

FAMILIES = {
    "dense": Dense(),
    "svf": StationaryVelocity(6),
    "ffd": FreeForm(4),
    "svffd": FreeFormVelocity((4, 4, 3), 6),
    "affine": Affine(),
    "rigid": Rigid(),
}
SHAPES = [(21, 26), (13, 14, 16)]
CASES = [
    pytest.param(
        FAMILIES[name] if len(shape) == 3 or name != "svffd" else FreeFormVelocity(4, 6),
        shape,
        id=f"{name}{len(shape)}",
    )
    for name in FAMILIES
    for shape in SHAPES
]


def smooth_field(shape, amplitude=0.8):
    grid = identity_grid(shape, dtype=torch.float64)
    waves = [
        torch.sin(0.25 * grid[:, k : k + 1] + 0.15 * grid[:, k - 1 : k or None][:, :1] + k)
        for k in range(len(shape))
    ]
    return amplitude * torch.cat(waves, 1)


@pytest.mark.parametrize(("family", "shape"), CASES)
def test_identity_parameters_do_not_move_anything(family, shape):
    theta = family.identity(2, shape, dtype=torch.float64)
    assert theta.shape == (2, *family.parameter_shape(shape))
    deformation = family(theta, shape)
    assert deformation.displacement.shape == (2, len(shape), *shape)
    assert deformation.regularised.shape == (2, len(shape), *shape)
    assert deformation.displacement.abs().max() < 1e-12
    assert family.inverse(theta, shape).abs().max() < 1e-12


@pytest.mark.parametrize(("family", "shape"), CASES)
def test_inverse_undoes_the_transformation(family, shape):
    theta = family.restrict(smooth_field(shape), shape)
    forward, backward = family(theta, shape).displacement, family.inverse(theta, shape)
    assert forward.abs().max() > 0.05
    residual = compose(forward, backward)
    inner = (..., *[slice(3, -3)] * len(shape))
    assert residual[inner].abs().max() < 0.03


@pytest.mark.parametrize(("family", "shape"), CASES)
def test_restriction_is_a_projection_onto_the_family(family, shape):
    theta = family.restrict(smooth_field(shape), shape)
    assert theta.shape == (1, *family.parameter_shape(shape))
    field = family(theta, shape).regularised
    again = family(family.restrict(field, shape), shape).regularised
    torch.testing.assert_close(again, field, rtol=0, atol=1e-4)


@pytest.mark.parametrize("family", [Dense(), StationaryVelocity(6), FreeForm(3), FreeFormVelocity(3, 6)])
def test_restriction_of_a_smooth_field_keeps_it(family):
    shape = (21, 26)
    field = smooth_field(shape)
    kept = family(family.restrict(field, shape), shape).regularised
    assert (kept - field).abs().max() < 0.02


@pytest.mark.parametrize(("family", "shape"), CASES)
def test_change_of_level_keeps_the_map(family, shape):
    finer = tuple(2 * n - 1 for n in shape)
    theta = family.restrict(smooth_field(shape), shape)
    resampled = family.resample(theta, shape, finer)
    assert resampled.shape == (1, *family.parameter_shape(finer))
    expected = resize_displacement(family(theta, shape).displacement, finer)
    ours = family(resampled, finer).displacement
    # splines are smooth between the coarse voxels, where the reference is linear
    on_coarse = (..., *[slice(None, None, 2)] * len(shape))
    assert (ours[on_coarse] - expected[on_coarse]).abs().max() < 0.06
    torch.testing.assert_close(family.resample(theta, shape, shape), theta)


@pytest.mark.parametrize(("family", "shape"), CASES)
def test_parameters_receive_finite_gradients_in_single_precision(family, shape):
    theta = family.identity(1, shape).add(0.05).requires_grad_(True)
    deformation = family(theta, shape)
    (deformation.displacement.square().mean() + deformation.regularised.mean()).backward()
    assert theta.grad.dtype == torch.float32
    assert torch.isfinite(theta.grad).all()
    assert theta.grad.abs().max() > 0


def test_the_regulariser_sees_velocities_of_velocity_families_and_displacements_otherwise():
    shape = (12, 13)
    field = smooth_field(shape, amplitude=2.0)
    for family in (Dense(), FreeForm(4), Affine()):
        deformation = family(family.restrict(field, shape), shape)
        assert deformation.regularised is deformation.displacement
    for family in (StationaryVelocity(6), FreeFormVelocity(4, 6)):
        deformation = family(family.restrict(field, shape), shape)
        assert (deformation.regularised - deformation.displacement).abs().max() > 0.05


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_families_hold_no_tensors_and_survive_pickling(family):
    assert not family.state_dict()
    assert repr(pickle.loads(pickle.dumps(family))) == repr(family)
    assert all(name in repr(family) for name in vars(family) if name in ("steps", "stride", "spacing_mm"))


@pytest.mark.parametrize(("family", "shape"), CASES)
def test_families_work_in_inference_mode(family, shape):
    with torch.inference_mode():
        theta = family.identity(1, shape).add(0.01)
        assert torch.isfinite(family(theta, shape).displacement).all()
        assert torch.isfinite(family.inverse(theta, shape)).all()
    leaf = family.identity(1, shape).requires_grad_(True)
    family(leaf, shape).displacement.sum().backward()
    assert leaf.grad is not None
