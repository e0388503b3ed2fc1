"""Principal components of hearts: those of scikit-learn, completion by its equation, generation by conditions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_hearts import CLASSES, FRAMES, SIZE, conditions, hearts, people
from torch import Tensor

from medreg.errors import CheckpointError, CompositionError, ConfigError
from medreg.models.hearts.packed import PackedShapes
from medreg.models.hearts.pca import HeartPCA


def one_hot(shape: Tensor) -> Tensor:
    """(N, T, L + 1, *S) float64."""
    return torch.stack([(shape == place).double() for place in range(CLASSES)], 2)


def fitted(shape: Tensor, covariates: dict[str, Tensor] | None = None, **options: object) -> HeartPCA:
    chosen = {"components": 5, "noise": None, "conditional": True, "half": False, **options}
    model = HeartPCA(conditions(), frames=FRAMES, classes=CLASSES, size=SIZE, **chosen)
    covariates = people(len(shape)) if covariates is None else covariates
    half = len(shape) // 2
    for part in (slice(half), slice(half, None)):
        model.observe(shape[part], {name: values[part] for name, values in covariates.items()})
    model.settle()
    return model


def full(model: HeartPCA) -> tuple[Tensor, Tensor]:
    """Mean (T, L + 1, *S) and components (K, T, L + 1, *S) with the background."""
    mean, modes = model.mean.double(), model.modes.double()
    return torch.cat([1 - mean.sum(1, keepdim=True), mean], 1), torch.cat(
        [-modes.sum(2, keepdim=True), modes], 2
    )


def test_packed_maps_come_back_and_agree_in_as_many_places_as_they_do():
    shape = hearts(9)
    packed = PackedShapes(CLASSES)
    packed.add(shape[:4])
    packed.add(shape[4:])
    assert all(torch.equal(packed.frame(number), shape[:, number]) for number in range(FRAMES))
    expected = (shape.unsqueeze(0) == shape.unsqueeze(1)).flatten(2).sum(2)
    np.testing.assert_array_equal(packed.agreement(), expected.numpy())


def test_components_are_those_of_scikit_learn():
    decomposition = pytest.importorskip("sklearn.decomposition")
    shape = hearts(20)
    data = one_hot(shape).flatten(1).numpy()
    theirs = decomposition.PCA(5, svd_solver="full").fit(data)
    model = fitted(shape)
    mean, modes = full(model)
    np.testing.assert_allclose(model.variances.numpy(), theirs.explained_variance_, rtol=1e-9)
    np.testing.assert_allclose(mean.flatten().numpy(), theirs.mean_, atol=1e-6)
    left = theirs.noise_variance_ * (min(data.shape) - 5)  # they divide by the rank of the data
    np.testing.assert_allclose(float(model.variance), left / (data.shape[1] - 5), rtol=1e-9)
    ours = modes.flatten(1) / model.variances.sqrt().unsqueeze(1)
    cosines = np.abs((ours.numpy() * theirs.components_).sum(1))
    np.testing.assert_allclose(cosines, 1, atol=1e-6)


def test_completion_is_the_minimum_of_the_equation():
    shape = hearts(20)
    model = fitted(shape, noise=0.3)
    mean, modes = full(model)
    first = hearts(2, seed=5)[:, 0]
    right = (one_hot(first.unsqueeze(1))[:, 0] - mean[0]).flatten(1)
    scores = torch.zeros(2, 5, dtype=torch.float64, requires_grad=True)
    scores.data = model.scores_of(first)
    energy = (right - scores @ modes[:, 0].flatten(1)).square().sum() + 0.3 * scores.square().sum()
    (gradient,) = torch.autograd.grad(energy, scores)
    assert float(gradient.abs().max()) < 1e-4
    expected = (torch.einsum("bk,ktcxyz->btcxyz", scores.detach(), modes) + mean).argmax(2)
    assert torch.equal(model.complete(first, {}).long(), expected)


def test_with_all_components_a_training_heart_is_completed_exactly():
    shape = hearts(8)
    model = fitted(shape, components=7, noise=1e-6)
    assert torch.equal(model.complete(shape[:, 0], {}), shape)


def test_half_precision_completes_nearly_the_same():
    shape, first = hearts(20), hearts(6, seed=5)[:, 0]
    answers = [fitted(shape, half=half).complete(first, {}) for half in (False, True)]
    assert float((answers[0] != answers[1]).float().mean()) < 1e-3


def test_drawn_completions_follow_their_seed_and_scatter_as_completions_miss():
    shape, first = hearts(20), hearts(1, seed=5)[:, 0]
    model = fitted(shape, noise=30.0)
    draw = lambda seed: model.complete(first, {}, generator=torch.Generator().manual_seed(seed))  # noqa: E731
    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))
    many = first.expand(4000, *first.shape[1:])
    drawn = []
    model.decode = lambda scores: drawn.append(scores) or shape[:1]  # type: ignore[method-assign]
    model.complete(many, {}, generator=torch.Generator().manual_seed(3))
    covariance = model.missed @ model.missed.T
    torch.testing.assert_close(torch.cov(drawn[0].T), covariance, atol=0.06, rtol=0.1)
    scores = torch.stack([_score(model, heart) for heart in shape])
    apart = scores - model.scores_of(shape[:, 0])
    torch.testing.assert_close(apart.T @ apart / len(shape), covariance, atol=1e-4, rtol=1e-3)


def _score(model: HeartPCA, heart: Tensor) -> Tensor:
    """Projection of a whole sequence on the components."""
    mean, modes = full(model)
    return (modes.flatten(1) @ (one_hot(heart[None])[0] - mean).flatten()) / model.variances


def test_new_hearts_follow_the_conditions_and_only_where_asked():
    shape, told = hearts(60, effect=0.4), people(60)
    old = {"age_years": torch.full((80,), 80.0), "sex": torch.ones(80)}
    young = {"age_years": torch.full((80,), 40.0), "sex": torch.ones(80)}
    grown = {}
    for conditional in (True, False):
        model = fitted(shape, told, conditional=conditional)
        volumes = [
            (model.generate(who, generator=torch.Generator().manual_seed(1)) > 0).sum() / (80 * FRAMES)
            for who in (young, old)
        ]
        grown[conditional] = float(volumes[1] - volumes[0])
    assert grown[True] > 50
    assert grown[False] == 0


def test_without_conditions_new_scores_have_the_variance_of_the_training_hearts():
    shape = hearts(60)
    model = fitted(shape, conditional=False, components=10)
    torch.testing.assert_close(model.residual @ model.residual.T, torch.eye(10, dtype=torch.float64))
    torch.testing.assert_close(model.regression, torch.zeros(1, 10, dtype=torch.float64), atol=1e-6, rtol=0)
    made = model.generate(people(400), generator=torch.Generator().manual_seed(1))
    sizes = [(each[:, 0] > 0).flatten(1).sum(1).float() for each in (shape, made)]
    assert float(sizes[1].mean() / sizes[0].mean()) == pytest.approx(1, abs=0.15)
    assert float(sizes[1].std() / sizes[0].std()) == pytest.approx(
        0.8, abs=0.2
    )  # labels are no linear function


def test_a_fit_lives_in_the_weights_and_forgets_the_hearts():
    shape, first = hearts(20), hearts(2, seed=5)[:, 0]
    model = fitted(shape)
    other = HeartPCA(
        conditions(), frames=FRAMES, classes=CLASSES, size=SIZE,
        components=5, noise=None, conditional=True, half=False,
    )  # fmt: skip
    with pytest.raises(CheckpointError, match="not fitted"):
        other.complete(first, {})
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.complete(first, {}), model.complete(first, {}))
    assert not len(model._hearts)


def test_what_cannot_be_fitted_is_refused():
    with pytest.raises(CompositionError, match="components=5 needs more training hearts"):
        fitted(hearts(5))
    with pytest.raises(ConfigError, match="components=0"):
        fitted(hearts(5), components=0)
