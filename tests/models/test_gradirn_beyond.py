"""GraDIRN with other transformations, masks and similarities than the paper's."""

from __future__ import annotations

import pytest
import torch
from registration_pairs import off_lattice, zero_networks

from medreg.errors import ConfigError
from medreg.geometry.ffd import FreeForm, FreeFormVelocity
from medreg.geometry.svf import StationaryVelocity
from medreg.geometry.warp import warp
from medreg.losses.similarity.lncc import LNCC
from medreg.losses.similarity.ncc import NCC

OTHERS = [StationaryVelocity(5), FreeForm(4), FreeFormVelocity(4, 5)]


@pytest.mark.parametrize("transformation", OTHERS, ids=lambda t: type(t).__name__)
def test_descent_improves_with_every_transformation(gradirn, transformation):
    fixed, moving = off_lattice((40, 36), torch.float32)
    model = zero_networks(gradirn(transformation=transformation))
    answer = model(fixed, moving)
    after = (warp(moving, answer.displacement) - fixed).square().mean()
    assert after < 0.8 * (moving - fixed).square().mean()
    assert len(answer.steps) == 9
    torch.testing.assert_close(answer.steps[-1], answer.displacement)


@pytest.mark.parametrize("transformation", OTHERS, ids=lambda t: type(t).__name__)
def test_every_transformation_trains(gradirn, transformation):
    fixed, moving = off_lattice(dtype=torch.float32)
    model = gradirn(transformation=transformation, channels=4)
    model(fixed, moving).displacement.square().sum().backward()
    assert all(torch.isfinite(p.grad).all() and p.grad.abs().sum() > 0 for p in model.parameters())


def test_works_in_three_dimensions_with_local_correlation(gradirn):
    torch.manual_seed(0)
    fixed = torch.rand(1, 1, 12, 10, 8)
    model = gradirn(3, similarity=LNCC(window=5, weight=1.0), channels=4, num_blocks=[1], num_repeat=[2])
    answer = model(fixed, fixed.flip(2))
    answer.displacement.sum().backward()
    assert answer.displacement.shape == (1, 3, 12, 10, 8)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize("similarity", [None, NCC(weight=1.0)])
def test_masked_voxels_do_not_move_anything(gradirn, similarity):
    fixed, moving = off_lattice((24, 24), torch.float32)
    changes = {} if similarity is None else {"similarity": similarity}
    model = zero_networks(gradirn(num_blocks=[1], num_repeat=[3], **changes))
    mask = torch.zeros_like(fixed)
    mask[..., :12] = 1
    u = model(fixed, moving, fixed_mask=mask).displacement
    assert u[..., 12:].abs().max() == 0
    assert u[..., :12].abs().max() > 0
    corrupted = torch.where(mask > 0, fixed, torch.full_like(fixed, 7.0))
    torch.testing.assert_close(model(corrupted, moving, fixed_mask=mask).displacement, u)
    moved = model(fixed, moving, moving_mask=mask).displacement
    assert moved[..., 14:].abs().max() == 0


def test_intermediate_steps_can_be_dropped(gradirn):
    images = off_lattice(dtype=torch.float32)
    kept, dropped = gradirn(), gradirn(keep_steps=False)
    assert dropped(*images).steps == ()
    torch.testing.assert_close(dropped(*images).displacement, kept(*images).displacement, rtol=0, atol=0)


def test_levels_must_match(gradirn):
    with pytest.raises(ConfigError, match="same levels"):
        gradirn(num_blocks=[1, 1], num_repeat=[3])


def test_authors_convention_needs_dense_parameters(gradirn):
    image = torch.rand(1, 1, 16, 16)
    with pytest.raises(ConfigError, match="dense"):
        gradirn(convention="authors", transformation=FreeForm(4))(image, image)


def test_repr_tells_the_schedule(gradirn):
    assert "num_repeat=[3, 3, 3]" in repr(gradirn())
