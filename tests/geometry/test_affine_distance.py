"""Root mean square displacement of affine maps in closed form."""

from __future__ import annotations

import math

import pytest
import torch

from medreg.geometry.affine_distance import (
    affine_distance,
    compose_matrices,
    half_extents,
    inverse_matrix,
    residual_distance,
)
from medreg.geometry.affine_pose import pose_matrix


def _random_matrix(count: int, ndim: int, *, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = 0.3 * torch.randn(count, ndim, ndim + 1, generator=generator, dtype=torch.float64)
    return torch.cat([torch.eye(ndim, dtype=torch.float64), torch.zeros(ndim, 1)], 1) + noise


def _sampled(matrix: torch.Tensor, half: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    ndim = matrix.shape[1]
    moved = points @ matrix[..., :ndim].mT + matrix[..., ndim].unsqueeze(1)
    return ((half * (moved - points)).square().sum(2).mean(1)).sqrt()


@pytest.mark.parametrize("half", [[31.5, 31.5], [80.0, 96.0, 40.0]])
def test_the_closed_form_is_the_monte_carlo_average(half: list[float]) -> None:
    lengths = torch.tensor(half, dtype=torch.float64)
    matrix = _random_matrix(3, len(half))
    points = 2 * torch.rand(
        1, 300_000, len(half), generator=torch.Generator().manual_seed(1), dtype=torch.float64
    ) - 1  # fmt: skip
    assert torch.allclose(affine_distance(matrix, lengths), _sampled(matrix, lengths, points), rtol=0.005)


def test_sixty_degrees_on_the_unit_square() -> None:
    pose = torch.tensor([[math.radians(60), 0, 0, 0, 0, 0]], dtype=torch.float64)
    distance = affine_distance(pose_matrix(pose, torch.ones(2)), torch.ones(2))
    assert distance.item() == pytest.approx(math.sqrt(2 / 3), abs=1e-7)


def test_a_translation_moves_by_its_length_in_mm() -> None:
    pose = torch.zeros(1, 12)
    pose[0, 3:6] = torch.tensor([0.3, -0.2, 0.1])
    half = half_extents((11, 21, 31), spacing_mm=(2.0, 1.0, 1.0))
    assert half.tolist() == [10.0, 10.0, 15.0]
    expected = math.sqrt(3.0**2 + 2.0**2 + 1.5**2)
    assert affine_distance(pose_matrix(pose, half), half).item() == pytest.approx(expected, rel=1e-6)


def test_the_identity_has_distance_zero_and_a_finite_gradient() -> None:
    matrix = torch.eye(2, 3).unsqueeze(0).requires_grad_(True)
    distance = affine_distance(matrix, torch.ones(2))
    (gradient,) = torch.autograd.grad(distance.sum(), matrix)
    assert distance.item() == 0
    assert torch.isfinite(gradient).all()


def test_the_distance_grows_with_unit_slope_away_from_the_identity() -> None:
    step = _random_matrix(1, 2) - torch.eye(2, 3, dtype=torch.float64)
    near, far = (affine_distance(torch.eye(2, 3) + c * step, torch.ones(2)) for c in (0.1, 0.7))
    assert (far / near).item() == pytest.approx(7.0)


def test_composition_is_application_one_after_the_other() -> None:
    outer, inner = _random_matrix(1, 3, seed=2), _random_matrix(1, 3, seed=3)
    point = torch.tensor([0.2, -0.4, 0.9, 1.0], dtype=torch.float64)
    once = torch.cat([inner[0] @ point, torch.ones(1)])
    assert torch.allclose(compose_matrices(outer, inner)[0] @ point, outer[0] @ once)


def test_nothing_is_left_at_the_truth() -> None:
    truth = _random_matrix(2, 3)
    left = residual_distance(truth, truth, torch.full((3,), 90.0, dtype=torch.float64))
    assert left.max().item() < 1e-10
    same = compose_matrices(truth, inverse_matrix(truth))
    assert torch.allclose(same[..., :3], torch.eye(3, dtype=torch.float64).expand(2, 3, 3))
