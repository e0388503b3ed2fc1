"""Diagnostics agree with ArviZ to rounding, and with what is known of autoregressive chains."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medreg.errors import CompositionError
from medreg.inference.sampling import diagnostics

MEASURES = (
    diagnostics.split_rhat,
    diagnostics.rank_rhat,
    diagnostics.ess_bulk,
    diagnostics.ess_tail,
    diagnostics.ess_mean,
    diagnostics.mcse_mean,
)
# ArviZ 0.23.4: rhat(method="split"), rhat(method="rank"), ess(method="bulk"), "tail", "mean", mcse(method="mean")
ARVIZ = {
    "slow": (1.04680118029, 1.04700075821, 74.7432861284, 317.597250515, 76.1697427474, 0.112746325416),
    "fast": (0.997664291294, 0.998276850901, 1038.98309894, 991.921873653, 1035.86518181, 0.0315003801641),
    "anti": (0.997052516952, 0.998963004941, 1666.89075023, 602.227978908, 1666.89075023, 0.0244416190853),
    "apart": (1.11054164516, 1.1097883996, 20.678893779, 273.530228007, 20.491118708, 0.239163325272),
    "long": (1.00061313119, 1.00140887414, 296.803564217, 715.863297296, 294.083415454, 0.0574925431923),
    "heavy": (1.0065718407, 1.00618610422, 303.923676637, 390.409508296, 564.855790027, 1.18442798266),
    "short": (1.0144884198, 1.0314768969, 19.2659197225, 19.2659197225, 19.2659197225, 0.152076277756),
    "tiny": (1.05773500753, 1.04208626629, 7.22471989594, 7.22471989594, 7.22471989594, 0.255896428053),
    "tied": (1.0130774155, 1.01310010758, 172.64714527, 273.365274161, 172.653966261, 0.0818920154983),
}


def autoregressive(rho, chains, draws, seed, *, apart=0.0):
    """Stationary chains of unit variance with autocorrelation rho^k, their means `apart` from one another."""
    random = np.random.default_rng(seed)
    x = np.empty((chains, draws))
    x[:, 0] = random.standard_normal(chains)
    innovations = random.standard_normal((chains, draws)) * np.sqrt(1 - rho**2)
    for time in range(1, draws):
        x[:, time] = rho * x[:, time - 1] + innovations[:, time]
    return torch.from_numpy(x + apart * np.arange(chains)[:, None])


def cases():
    return {
        "slow": autoregressive(0.9, 4, 500, 1),
        "fast": autoregressive(0.0, 4, 250, 2),
        "anti": autoregressive(-0.5, 2, 301, 3),
        "apart": autoregressive(0.5, 3, 200, 4, apart=0.5),
        "long": autoregressive(0.7, 2, 1000, 5),
        "heavy": torch.exp(2 * autoregressive(0.6, 4, 300, 6)),
        "short": autoregressive(0.3, 2, 8, 7),
        "tiny": autoregressive(0.3, 2, 4, 9),
        "tied": autoregressive(0.4, 4, 100, 8).round(),
    }


@pytest.mark.parametrize("name", ARVIZ)
def test_as_arviz(name):
    found = [float(measure(cases()[name])) for measure in MEASURES]
    assert found == pytest.approx(ARVIZ[name], rel=1e-9)


@pytest.mark.parametrize("rho", [-0.4, 0.0, 0.6, 0.9])
def test_autocorrelation_time_of_autoregressive_chains(rho):
    chains = autoregressive(rho, 8, 20_000, 0)
    assert float(diagnostics.autocorrelation_time(chains)) == pytest.approx((1 + rho) / (1 - rho), rel=0.08)
    found = diagnostics.autocorrelation(chains, lags=5)
    torch.testing.assert_close(found, rho ** torch.arange(6.0, dtype=torch.float64), atol=0.02, rtol=0)


def test_error_of_the_mean_covers_the_truth():
    means, errors = [], []
    for seed in range(200):
        chains = autoregressive(0.8, 2, 400, seed)
        means.append(float(chains.mean()))
        errors.append(float(diagnostics.mcse_mean(chains)))
    scores = np.array(means) / np.array(errors)
    assert np.std(scores) == pytest.approx(1, abs=0.15)


def test_scalars_side_by_side_are_the_scalars_one_by_one():
    fields = torch.stack([autoregressive(0.8, 4, 60, seed) for seed in range(6)], -1).reshape(4, 60, 2, 3)
    for measure in MEASURES:
        together = measure(fields)
        assert together.shape == (2, 3)
        alone = torch.stack([measure(fields[..., a, b]) for a in range(2) for b in range(3)]).reshape(2, 3)
        torch.testing.assert_close(together, alone, rtol=1e-12, atol=0)


def test_what_cannot_be_measured_is_said():
    with pytest.raises(CompositionError, match="at least 4 draws"):
        diagnostics.ess_bulk(torch.zeros(2, 3))
    broken = autoregressive(0.5, 2, 40, 0)[..., None].repeat(1, 1, 2)
    broken[0, 3, 1] = torch.nan
    found = diagnostics.ess_bulk(broken)
    assert torch.isfinite(found[0])
    assert torch.isnan(found[1])
    # A scalar that never moves is no evidence of bad mixing, as in ArviZ
    assert float(diagnostics.ess_mean(torch.ones(2, 50))) == 100
    assert torch.isnan(diagnostics.split_rhat(torch.ones(2, 50)))
