"""Affine registration of known motions by any similarity."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from medreg.config.compose import compose
from medreg.config.instantiate import build
from medreg.geometry.affine_distance import affine_distance, half_extents, inverse_matrix, residual_distance
from medreg.geometry.affine_pose import AffinePose, pose_matrix, unit_to_voxel
from medreg.geometry.grid import matrix_to_displacement
from medreg.geometry.warp import warp
from medreg.models.affine import AffineRegistration

SHAPE = (32, 32)
LEVELS = "model.levels=[{shrink: 1, sigma: 1.0, iterations: 40, learning_rate: 0.05}]"
POSES = [[0.3, 0.1, -0.1, 0.1, -0.05, 0.1], [-0.5, 0.1, 0.2, 0.0, 0.0, 0.0]]


def _head() -> Tensor:
    """Three ellipses without symmetry, (1, 1, 32, 32), zero outside."""
    axis = torch.linspace(-1, 1, SHAPE[0])
    x, y = torch.meshgrid(axis, axis, indexing="ij")

    def disc(a: float, b: float, radius: tuple[float, float]) -> Tensor:
        return torch.sigmoid(
            20 * (1 - (((x - a) / radius[0]) ** 2 + ((y - b) / radius[1]) ** 2).sqrt()) * radius[0]
        )

    image = (
        0.4 * disc(0, 0, (0.6, 0.45)) + 0.5 * disc(0.2, 0.1, (0.15, 0.2)) - 0.2 * disc(-0.3, 0, (0.2, 0.1))
    )
    return image.reshape(1, 1, *SHAPE)


def _moved(image: Tensor, poses: Tensor) -> Tensor:
    truth = pose_matrix(poses, half_extents(SHAPE))
    field = matrix_to_displacement(unit_to_voxel(inverse_matrix(truth), SHAPE), SHAPE)
    return warp(image.expand(len(poses), -1, -1, -1), field, padding="zeros")


def _model(*overrides: str) -> AffineRegistration:
    found = build(compose(["mode=test", "model=affine", LEVELS, *overrides]).model)
    assert isinstance(found, AffineRegistration)
    return found


def _residual(model: AffineRegistration, theta: Tensor, poses: Tensor) -> Tensor:
    assert isinstance(model.transformation, AffinePose)
    half = half_extents(SHAPE)
    found = pose_matrix(model.transformation.pose(theta), half)
    return residual_distance(found, pose_matrix(poses, half), half)


@pytest.mark.parametrize(
    "similarity",
    [["ssd"], ["ncc"], ["nmi", "similarity.bins=16", "similarity.sample_ratio=1.0"], ["mind"], ["ngf"]],
)
def test_known_motions_of_a_batch_are_found(similarity: list[str]) -> None:
    poses, image = torch.tensor(POSES), _head()
    model = _model(f"similarity={similarity[0]}", *similarity[1:])
    found = model(image.expand(2, -1, -1, -1), _moved(image, poses))
    start = affine_distance(pose_matrix(poses, half_extents(SHAPE)), half_extents(SHAPE))
    left = _residual(model, found.parameters, poses)
    assert (left < 0.4 * start).all()


def test_a_pair_does_not_see_its_neighbours_in_the_batch() -> None:
    poses, image, model = torch.tensor(POSES), _head(), _model("similarity=ncc")
    together = model(image.expand(2, -1, -1, -1), _moved(image, poses)).parameters
    alone = model(image, _moved(image, poses)[1:]).parameters
    assert torch.allclose(together[1:], alone, atol=1e-4)


def test_two_runs_are_equal() -> None:
    poses, image, model = torch.tensor(POSES[:1]), _head(), _model("similarity=nmi")
    first, second = (model(image, _moved(image, poses)).parameters for _ in range(2))
    assert torch.equal(first, second)


def test_the_pose_stays_in_its_box_and_the_energy_never_rises() -> None:
    poses, image = torch.tensor([[0.9, 0.0, 0.0, 0.0, 0.0, 0.0]]), _head()
    model = _model("similarity=ssd", "transformation.box.rotation=0.2")
    energies: list[float] = []
    found = model(image, _moved(image, poses), callback=lambda state: energies.append(float(state.energies)))
    assert isinstance(model.transformation, AffinePose)
    assert model.transformation.pose(found.parameters)[0, 0].abs().item() <= 0.2 + 1e-6
    assert min(energies) <= energies[0]


def test_a_second_stage_goes_on_from_the_first() -> None:
    poses, image = torch.tensor(POSES[1:]), _head()
    model = build(
        compose(
            ["mode=test", "model=affine_refined", "similarity=ssd", LEVELS,
             "model.refine.levels=[{shrink: 1, sigma: 0.0, iterations: 0, learning_rate: 0.01}]"]
        ).model
    )  # fmt: skip
    both = model(image, _moved(image, poses)).parameters
    first = _model("similarity=ssd")(image, _moved(image, poses)).parameters
    assert torch.allclose(both, first)
    assert first.abs().max() > 0.1
