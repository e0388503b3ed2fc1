"""Bayesian registration as a model: answers, listeners, resumption, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from medreg.errors import ConfigError, DataError, NumericalError
from medreg.geometry.ffd import FreeFormVelocity
from medreg.geometry.warp import warp
from medreg.inference.posterior_inference import (
    ChainInference,
    Kept,
    PosteriorInference,
    VariationalInference,
)
from medreg.inference.sampling.hamiltonian import SGHMC
from medreg.inference.sampling.langevin import SGLD
from medreg.inference.sampling.moments import Moments
from medreg.inference.sampling.safety import Safety
from medreg.inference.smoothing import gaussian_smooth
from medreg.inference.variational_pairs import VariationalFit
from medreg.losses.likelihood.gaussian import Gaussian
from medreg.losses.likelihood.residual import Difference
from medreg.losses.prior.fixed import Fixed
from medreg.losses.regularisation.diffusion import Diffusion
from medreg.losses.tuning import Rate
from medreg.models.bayes import BayesianRegistration

FIT = VariationalFit(
    rank=1, iterations=150, std=0.05, factor=0.01, lr=0.05, schedule="cosine", decay=0.0, betas=(0.9, 0.99),
    estimator="closed",
)  # fmt: skip
SIGMA = 0.05


def pair(
    shape: tuple[int, ...] = (20, 16), pairs: int = 1
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Fixed, moving and the displacement between them."""
    generator = torch.Generator().manual_seed(0)
    moving = gaussian_smooth(torch.randn(pairs, 1, *shape, generator=generator), 1.5)
    moving = moving / moving.std()
    truth = gaussian_smooth(torch.randn(pairs, len(shape), *shape, generator=generator), 4.0)
    truth = 1.5 * truth / truth.abs().max()
    noise = SIGMA * torch.randn(pairs, 1, *shape, generator=generator)
    return warp(moving, truth) + noise, moving, truth


def model(inference: PosteriorInference, *, jitter: float = 0.0) -> BayesianRegistration:
    return BayesianRegistration(
        Gaussian(residual=Difference(), sigma=SIGMA, rate=Rate(0.0), decimation=None),
        Fixed(regulariser=Diffusion(weight=1.0, units="voxel"), weight=2.0),
        FreeFormVelocity(4, 4),
        inference=inference,
        smoothing=None,
        jitter=jitter,
        prior_on="parameters",
        seed=1,
    )


def chains(**changes: object) -> ChainInference:
    settings: dict = {
        "sampler": SGLD(0.05), "variational": FIT, "start": "vi", "precondition": "vi", "chains": 2, "burn_in": 60,
        "transitions": 240, "thin": 3, "safety": Safety(),
    }  # fmt: skip
    return ChainInference(**{**settings, **changes})


INFERENCES = {
    "vi": VariationalInference(variational=FIT, samples=30),
    "sgld": chains(),
    "sghmc": chains(sampler=SGHMC(0.3, friction=1.0)),
}


@pytest.mark.parametrize("name", INFERENCES)
@pytest.mark.parametrize("shape", [(20, 16), (12, 10, 14)])
def test_finds_the_motion_and_says_how_sure_it_is(name, shape):
    fixed, moving, truth = pair(shape)
    moments = Moments()
    found = model(INFERENCES[name])(fixed, moving, listeners=[moments])
    assert (found.displacement - truth).norm() < 0.5 * truth.norm()
    std = moments.std()
    assert std.shape == truth.shape
    assert moments.count == [INFERENCES[name].samples]
    assert 0.3 < ((moments.mean() - truth) / std).std() < 3.0


def test_pairs_of_a_batch_do_not_see_each_other_in_vi():
    fixed, moving, _ = pair(pairs=2)
    both = model(INFERENCES["vi"])(fixed, moving).displacement
    swapped = model(INFERENCES["vi"])(fixed, torch.stack([moving[0], moving[1] * 0.5])).displacement
    assert torch.equal(both[0], swapped[0])
    assert not torch.equal(both[1], swapped[1])


QUICK = {"variational": replace(FIT, iterations=30), "burn_in": 10, "transitions": 40, "thin": 4}


def test_the_same_seed_gives_the_same_bits():
    fixed, moving, _ = pair()
    first, second = (model(chains(**QUICK), jitter=0.1)(fixed, moving) for _ in range(2))
    assert torch.equal(first.displacement, second.displacement)
    other = model(chains(**QUICK), jitter=0.1)
    other.seed = 2
    assert not torch.equal(first.displacement, other(fixed, moving).displacement)


class Killed(Exception):
    """Stands for a kill in the middle."""


@pytest.mark.parametrize(("stage", "iteration"), [(0, 12), (1, 20)])
def test_goes_on_after_a_kill_with_the_same_bits(tmp_path, stage, iteration):
    fixed, moving, _ = pair()
    whole = Moments()
    expected = model(chains(**QUICK), jitter=0.1)(fixed, moving, listeners=[whole])

    def kill(state):
        if (state.level, state.iteration) == (stage, iteration):
            raise Killed

    keep = Kept(tmp_path, every_s=0.0)
    with pytest.raises(Killed):
        model(chains(**QUICK), jitter=0.1)(fixed, moving, listeners=[Moments()], callback=kill, keep=keep)
    made = []
    again = Moments()
    found = model(chains(**QUICK), jitter=0.1)(
        fixed, moving, listeners=[again], keep=keep, callback=lambda state: made.append(state.level)
    )
    assert torch.equal(found.displacement, expected.displacement)
    assert torch.equal(again.std(), whole.std())
    assert made.count(0) == (19 if stage == 0 else 0)
    keep.remove()
    assert not tmp_path.exists()


def test_other_images_do_not_go_on_from_the_state(tmp_path):
    fixed, moving, _ = pair()
    keep = Kept(tmp_path, every_s=1e9)
    model(chains(**QUICK))(fixed, moving, keep=keep)
    other = model(chains(**QUICK))(fixed.flip(2), moving.flip(2), keep=keep)
    assert torch.equal(other.displacement, model(chains(**QUICK))(fixed.flip(2), moving.flip(2)).displacement)


def test_a_chain_that_folds_is_told_and_what_it_sampled_is_kept():
    fixed, moving, _ = pair()
    inference = chains(sampler=SGLD(0.1), safety=Safety(fold_percent=0.0))
    account = model(inference)(fixed, moving).sampling
    assert account is not None
    assert not account.stops
    wild = chains(
        variational=replace(FIT, iterations=1, std=6.0, lr=1e-6), burn_in=0, safety=Safety(fold_percent=0.0)
    )
    found = model(wild)(fixed, moving)
    assert found.displacement.isfinite().all()
    assert len(found.sampling.stops) == 2
    assert "the mean of the variational fit stands" in found.sampling.notes[-1]
    lost = chains(
        variational=None, start="noise", precondition="none", safety=Safety(fold_percent=0.0), burn_in=0
    )
    with pytest.raises(NumericalError, match="were stopped"):
        model(lost)(100 * fixed, moving)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"transitions": 5, "thin": 10}, "No sample is left"),
        ({"variational": None}, "need a variational fit"),
        ({"chains": 0}, "chains"),
        ({"start": "somewhere"}, "inference.start"),
    ],
)
def test_chains_that_make_no_sense_are_refused(changes, sentence):
    with pytest.raises(ConfigError, match=sentence):
        chains(**changes)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"decay": -1.0}, "decay of a variational fit is -1"),
        ({"decay": float("inf")}, "decay"),
        ({"factor": float("inf")}, "factor"),
        ({"betas": (0.9,)}, "betas"),
        ({"betas": (1.0, 1.0)}, "betas"),
        ({"schedule": "slow"}, "schedule"),
        ({"estimator": "best"}, "estimator"),
        ({"lr": float("nan")}, "lr"),
    ],
)
def test_a_fit_that_makes_no_sense_is_refused_when_it_is_described(changes, sentence):
    with pytest.raises(ConfigError, match=sentence):
        replace(FIT, **changes)


def test_a_model_is_refused_before_it_sees_an_image_and_can_be_printed():
    assert "prior_on=parameters" in repr(model(INFERENCES["vi"]))
    for jitter in (-1.0, float("inf")):
        with pytest.raises(ConfigError, match=r"model\.jitter"):
            model(INFERENCES["vi"], jitter=jitter)


def test_a_rank_above_the_number_of_unknowns_is_refused():
    fixed, moving, _ = pair((8, 8))
    with pytest.raises(ConfigError, match="rank"):
        model(VariationalInference(variational=replace(FIT, rank=10_000), samples=2))(fixed, moving)


def test_images_without_a_posterior_are_refused():
    fixed, moving, _ = pair()
    with pytest.raises(DataError, match="constant"):
        model(INFERENCES["vi"])(torch.zeros_like(fixed), moving)
    with pytest.raises(DataError, match="empty"):
        model(INFERENCES["vi"])(fixed, moving, fixed_mask=torch.zeros_like(fixed))
    with pytest.raises(DataError, match="NaN"):
        model(INFERENCES["vi"])(fixed, torch.full_like(moving, float("nan")))
