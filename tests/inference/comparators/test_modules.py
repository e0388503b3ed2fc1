"""MC dropout of any module, ensembles, Laplace and Hamiltonian Monte Carlo against closed forms."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medreg.errors import CompositionError, ConfigError, MissingExtra, NumericalError
from medreg.inference.comparators.dropout import MaskedWeights
from medreg.inference.comparators.dropout_module import (
    dropout_draws,
    dropout_layers,
    enumerate_dropout,
    set_probability,
)
from medreg.inference.comparators.ensemble import ensemble_draws
from medreg.inference.comparators.hamiltonian import hamiltonian
from medreg.inference.comparators.laplace import fit_laplace
from medreg.inference.comparators.laplace_torch import LibraryLaplace
from medreg.inference.comparators.linear_gaussian import LinearGaussian

WEIGHTS = torch.tensor([0.6, -0.4, 1.1], dtype=torch.float64)


def linear_with_dropout(p=0.3):
    """Dropout on features before a linear layer is dropout on its weights."""
    module = nn.Sequential(nn.Dropout(p), nn.Linear(3, 1, bias=False)).double()
    module[1].weight.data[0] = WEIGHTS
    return module


def test_all_masks_of_a_module_are_those_of_the_closed_form():
    inputs = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    answers, shares = enumerate_dropout(linear_with_dropout(), inputs)
    closed = MaskedWeights(WEIGHTS, 0.3)
    assert answers.shape == (8, 5, 1)
    torch.testing.assert_close(shares @ answers[..., 0], inputs @ closed.mean)
    spread = shares @ (answers[..., 0] - shares @ answers[..., 0]).square()
    torch.testing.assert_close(spread, closed.epistemic_variance(inputs))


def test_draws_agree_with_enumeration_in_mean_and_variance():
    module, inputs = linear_with_dropout(), torch.ones(1, 3, dtype=torch.float64)
    found = dropout_draws(module, inputs, draws=20_000, generator=torch.Generator().manual_seed(1))[:, 0, 0]
    closed = MaskedWeights(WEIGHTS, 0.3)
    assert found.mean().item() == pytest.approx(closed.mean.sum().item(), abs=0.03)
    assert found.var().item() == pytest.approx(closed.variance.sum().item(), rel=0.03)


def test_masks_come_from_their_own_generator_and_the_mode_is_restored():
    module = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 2)).train()
    before = [part.training for part in module.modules()], module[1].running_mean.clone()
    inputs, state = torch.randn(4, 3), torch.get_rng_state()
    one = dropout_draws(module, inputs, draws=3, generator=torch.Generator().manual_seed(7))
    two = dropout_draws(module, inputs, draws=3, generator=torch.Generator().manual_seed(7))
    other = dropout_draws(module, inputs, draws=3, generator=torch.Generator().manual_seed(8))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), state)
    assert [part.training for part in module.modules()] == before[0]
    assert torch.equal(module[1].running_mean, before[1])
    assert not module[2]._forward_hooks


def test_a_shared_mask_is_one_function_and_channels_drop_whole():
    module = nn.Sequential(nn.Conv2d(1, 6, 1), nn.Dropout2d(0.5))
    with torch.no_grad():
        module[0].weight.fill_(1.0)
        module[0].bias.fill_(1.0)
    found = dropout_draws(module, torch.ones(3, 1, 4, 5), draws=4, shared=True)
    assert (found == found[:, :1, :, :1, :1]).all()
    assert set(found.unique().tolist()) == {0.0, 4.0}
    free = dropout_draws(module, torch.ones(3, 1, 4, 5), draws=4)
    assert (free == free[..., :1, :1]).all()
    assert not (free == free[:, :1]).all()


def test_modules_without_dropout_and_other_kinds_are_refused():
    with pytest.raises(CompositionError, match="no dropout layer with p > 0"):
        dropout_layers(nn.Sequential(nn.Linear(1, 1), nn.Dropout(0.0)))
    with pytest.raises(CompositionError, match="1 is another kind"):
        dropout_layers(nn.Sequential(nn.Dropout(0.1), nn.AlphaDropout(0.1)))
    with pytest.raises(ConfigError, match="0 draws"):
        dropout_draws(linear_with_dropout(), torch.ones(1, 3).double(), draws=0)
    wide = nn.Sequential(nn.Dropout(0.5), nn.Linear(17, 1))
    with pytest.raises(ConfigError, match="drops 17 units; at most 16"):
        enumerate_dropout(wide, torch.ones(1, 17))
    set_probability(wide, 0.2)
    assert wide[0].p == 0.2


def test_an_ensemble_takes_modules_and_states():
    members = [nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)) for _ in range(3)]
    inputs = torch.randn(4, 2)
    one = ensemble_draws(members, inputs)
    template = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    kept = {name: value.clone() for name, value in template.state_dict().items()}
    two = ensemble_draws([member.state_dict() for member in members], inputs, template=template)
    assert one.shape == (3, 4, 3)
    torch.testing.assert_close(one, two)
    assert all(torch.equal(kept[name], value) for name, value in template.state_dict().items())
    with pytest.raises(ConfigError, match="without members"):
        ensemble_draws([], inputs)
    with pytest.raises(ConfigError, match="give template="):
        ensemble_draws([kept], inputs)
    with pytest.raises(CompositionError, match=r"1\.bias differs"):
        ensemble_draws([{k: v for k, v in kept.items() if k != "1.bias"}], inputs, template=template)


def regression():
    generator = torch.Generator().manual_seed(6)
    design = torch.randn(12, 3, generator=generator, dtype=torch.float64)
    return LinearGaussian(design, torch.randn(12, generator=generator, dtype=torch.float64), 0.4, 1.5)


def linear(parameters, inputs):
    return inputs @ parameters


@pytest.mark.parametrize("structure", ["full", "diagonal"])
def test_laplace_of_a_linear_function_is_the_closed_form(structure):
    model = regression()
    found = fit_laplace(linear, model.posterior.mean, model.design, noise=0.4, prior=1.5, structure=structure)
    torch.testing.assert_close(found.covariance, model.laplace(structure).covariance)
    ours, theirs = found.predict(model.design), model.laplace(structure).predict(model.design, 0.4)
    torch.testing.assert_close(ours.variance, theirs.variance)
    torch.testing.assert_close(ours.mean, theirs.mean)


def test_laplace_of_some_parameters_keeps_the_others():
    model = regression()
    chosen = torch.tensor([True, False, True])
    found = fit_laplace(linear, model.posterior.mean, model.design, noise=0.4, prior=1.5, chosen=chosen)
    torch.testing.assert_close(found.covariance, torch.linalg.inv(model.precision[chosen][:, chosen]))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the library
def test_laplace_torch_agrees_with_the_closed_form():
    pytest.importorskip("laplace", reason="the extra laplace is not installed")
    model, module = regression(), nn.Linear(3, 1, bias=False).double()
    module.weight.data[0] = model.posterior.mean
    data = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(model.design, model.targets[:, None]), batch_size=12
    )
    found = LibraryLaplace(
        module, data, likelihood="regression", subset="all", structure="full", sigma_noise=0.4,
        prior_precision=1 / 1.5**2,
    )  # fmt: skip
    mean, variance = found.predict(model.design)
    exact = model.posterior.predict(model.design, 0.4)
    torch.testing.assert_close(mean[:, 0], exact.mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(variance[:, 0, 0], exact.epistemic_variance, rtol=1e-5, atol=1e-6)


def test_without_the_extra_the_install_line_is_said(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "laplace", None)
    with pytest.raises(MissingExtra, match=r"pip install 'medreg\[laplace\]'"):
        LibraryLaplace(nn.Linear(1, 1), [])


def test_hamiltonian_monte_carlo_finds_a_normal_with_its_correlations():
    model = regression()
    start = torch.randn(20, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = hamiltonian(
        model.log_joint, start, generator=torch.Generator().manual_seed(3), samples=250, warm_up=100, step_size=0.01
    )  # fmt: skip
    assert 0.6 < found.acceptance < 0.97
    exact, flat = model.posterior, found.flat
    assert flat.shape == (5000, 3)
    scale = exact.covariance.diagonal().sqrt()
    torch.testing.assert_close(flat.mean(0) / scale, exact.mean / scale, atol=0.08, rtol=0)
    whitened = torch.linalg.solve_triangular(
        torch.linalg.cholesky(exact.covariance), (flat - exact.mean).T, upper=False
    )
    torch.testing.assert_close(torch.cov(whitened), torch.eye(3, dtype=torch.float64), atol=0.1, rtol=0)


def test_hamiltonian_monte_carlo_refuses_what_cannot_start():
    generator = torch.Generator().manual_seed(0)
    with pytest.raises(ConfigError, match="no sample would be kept"):
        hamiltonian(
            lambda x: -x.square().sum(1), torch.zeros(2, 1), generator=generator, samples=0, warm_up=1
        )
    with pytest.raises(NumericalError, match="not finite at the starting points"):
        hamiltonian(lambda x: x.sum(1).log(), -torch.ones(2, 1), generator=generator, samples=1, warm_up=1)
