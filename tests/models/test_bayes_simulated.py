"""A simulated 3-D pair whose motion is known: the answer is right, honest about itself, and whatever the start."""

from __future__ import annotations

import itertools

import pytest
import torch
from drawn_pair import drawn_pair, model_of

from medreg.errors import NumericalError
from medreg.inference.posterior_inference import ChainInference, VariationalInference
from medreg.inference.sampling.diagnostics import mcse_mean, rank_rhat
from medreg.inference.sampling.hamiltonian import SGHMC
from medreg.inference.sampling.langevin import SGLD
from medreg.inference.sampling.moments import Moments
from medreg.inference.sampling.probe import Probe
from medreg.inference.sampling.safety import Safety
from medreg.inference.variational_pairs import VariationalFit
from medreg.metrics.uncertainty.intervals import gaussian_coverage

FIT = VariationalFit(
    rank=0, iterations=150, std=0.2, factor=0.02, lr=0.05, schedule="cosine", decay=0.0, betas=(0.9, 0.99),
    estimator="closed",
)  # fmt: skip


def chains(sampler, **changes):
    settings = {
        "sampler": sampler, "variational": FIT, "start": "vi", "precondition": "vi", "chains": 2, "burn_in": 500,
        "transitions": 2500, "thin": 10, "safety": Safety(),
    }  # fmt: skip
    return ChainInference(**{**settings, **changes})


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_half_the_error_and_more_doubt_where_there_is_nothing_to_see():
    """32³, textured in one half: the correct samplers are calibrated, the released one is at least twice as bad."""
    pair = drawn_pair((32, 32, 32))
    inferences = {
        "vi": VariationalInference(variational=FIT, samples=100),
        "sgld": chains(SGLD(0.02)),
        "sghmc": chains(SGHMC(0.4, friction=1.0), burn_in=200, transitions=800, thin=4),
        "released": chains(SGLD(0.02, update="released"), burn_in=200, transitions=400, thin=4),
    }
    off = {}
    for name, inference in inferences.items():
        moments = Moments()
        model_of(inference)(pair.fixed, pair.moving, listeners=[moments])
        mean, std = moments.mean(), moments.std()
        error = (mean - pair.truth).norm(dim=1).mean() / pair.truth.norm(dim=1).mean()
        assert error < 0.5, name
        spread = std.norm(dim=1)[0]
        assert spread[~pair.textured].mean() > 2 * spread[pair.textured].mean(), name
        off[name] = gaussian_coverage((pair.truth - mean) / std).error
    assert off["sgld"] <= 0.05, off
    assert off["sghmc"] <= 0.05, off
    assert off["released"] >= 2 * max(off["sgld"], off["sghmc"]), off
    assert off["vi"] < 0.15, off  # mean field is too sure where control points hang together


def test_a_pair_of_two_dimensions_has_more_doubt_where_it_is_flat():
    pair = drawn_pair((28, 24), seed=2)
    moments = Moments()
    model_of(chains(SGHMC(0.4, friction=1.0), burn_in=60, transitions=150, thin=3))(
        pair.fixed, pair.moving, listeners=[moments]
    )
    assert (moments.mean() - pair.truth).norm() < 0.7 * pair.truth.norm()
    spread = moments.std().norm(dim=1)[0]
    assert spread[~pair.textured].mean() > 2 * spread[pair.textured].mean()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_chains_from_anywhere_agree():
    """From the fit, the identity and noise: the same means within their Monte-Carlo errors, and R-hat below 1.1."""
    pair = drawn_pair((16, 14, 15), flat=False)
    voxels = torch.ones(1, 1, 16, 14, 15)
    found = {}
    for number, start in enumerate(("vi", "identity", "noise")):
        probe = Probe.at_random(voxels, count=500, generator=torch.Generator().manual_seed(0))
        inference = chains(
            SGHMC(0.4, friction=1.0), start=start, burn_in=400, transitions=1600, thin=4,
            safety=Safety(fold_percent=None),
        )  # fmt: skip
        model_of(inference, seed=number)(pair.fixed, pair.moving, listeners=[probe])
        found[start] = probe.chains().flatten(2).double()
    for one, two in itertools.combinations(found.values(), 2):
        apart = (one.mean((0, 1)) - two.mean((0, 1))).abs()
        error = (mcse_mean(one).square() + mcse_mean(two).square()).sqrt()
        share = (apart < 2 * error).double().mean()
        assert share > 0.85  # 0.95 of independent voxels; neighbours deviate together
        assert apart.square().mean() < 1.7 * error.square().mean()
    rhat = rank_rhat(torch.cat(list(found.values())))
    assert float(rhat.max()) < 1.1


def test_what_chains_sampled_before_they_folded_is_the_answer():
    """Steps far too long for the prior: every chain ends, and their samples, mean and reasons are kept."""
    pair = drawn_pair((20, 18))
    listeners = [Moments(), Probe(torch.arange(4)[None])]
    inference = chains(
        SGLD(0.03), start="identity", precondition="none", burn_in=0, transitions=400, thin=1,
        safety=Safety(fold_percent=0.1),
    )  # fmt: skip
    model = model_of(inference)
    model.prior.weight = 1e-4  # hardly a prior
    found = model(pair.fixed, pair.moving, listeners=listeners)
    moments = listeners[0]
    assert len(found.sampling.stops) == 2
    assert all("fold" in stop.reason for stop in found.sampling.stops)
    assert moments.count[0] == sum(stop.transition - 1 for stop in found.sampling.stops) > 1  # of 800
    torch.testing.assert_close(found.displacement, moments.mean())
    assert any("samples are kept" in note for note in found.sampling.notes)
    assert found.sampling.notes[-1].startswith("no chain reached the end")
    inference = chains(
        SGLD(0.5), start="noise", precondition="none", burn_in=50, transitions=50, thin=1,
        safety=Safety(fold_percent=0.1, every=1),
    )  # fmt: skip
    model = model_of(inference)
    model.prior.weight = 1e-4
    with pytest.raises(NumericalError, match=r"\b0 samples were kept"):
        model(pair.fixed, pair.moving, listeners=[Moments()])
