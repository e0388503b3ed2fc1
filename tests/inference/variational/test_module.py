"""Any module with random parameters: selection, evaluation, the bound of a minibatch, prediction, state."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from medreg.errors import ConfigError, NumericalError
from medreg.inference.variational import VariationalModule
from medreg.inference.variational.analytic import GaussianTarget
from medreg.inference.variational.families import Full
from medreg.inference.variational.predictive import categorical, entropy_split, normal
from medreg.inference.variational.presets import PRESETS, preset
from medreg.inference.variational.selection import prior_scales, select

F64 = torch.float64
FEATURES = torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]], dtype=F64)
TARGETS = torch.tensor([[1.0], [2.0], [2.0]], dtype=F64)


class Tied(nn.Module):
    """A convolution, norms, a tied matrix, a frozen bias and a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.BatchNorm2d(4), nn.ReLU()
        )
        self.inside = nn.Linear(4, 4, bias=False)
        self.outside = nn.Linear(4, 4)
        self.outside.weight = self.inside.weight
        self.outside.bias.requires_grad_(False)
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        pooled = self.encoder(image).mean((2, 3))
        return {"one": self.outside(torch.tanh(self.inside(pooled))) * self.scale, "pooled": pooled}


class Untraceable(nn.Module):
    """Control flow that depends on values, which vmap refuses."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.linear(x)
        return y if bool(y.sum() > 0) else -y


def seeded(module: type[nn.Module], *arguments: object) -> nn.Module:
    torch.manual_seed(0)
    return module(*arguments)


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 1)).double()


def image() -> torch.Tensor:
    return torch.randn(3, 1, 6, 5, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("family", ["diagonal", "structured", "mixture", "full"])
def test_six_lines(family):
    model = VariationalModule(mlp(), family=family, prior="fan_in")
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    before = float(model.elbo(FEATURES, TARGETS, normal(0.1)).detach())
    for _ in range(40):
        loss = model.loss(FEATURES, TARGETS, normal(0.1))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(model.elbo(FEATURES, TARGETS, normal(0.1)).detach()) > before + 10
    assert model.predict(FEATURES, samples=7).shape == (7, 3, 1)


def test_without_spread_it_is_the_plain_module():
    net = seeded(Tied)
    model = VariationalModule(net, rank=2, pairs=3)
    with torch.no_grad():
        model.family.log_std.fill_(-40)
        model.family.log_lengths.fill_(-40)
    outputs = model(image())
    plain = net.eval()(image())
    for key in ("one", "pooled"):
        assert outputs[key].shape == (6, *plain[key].shape)
        torch.testing.assert_close(outputs[key], plain[key].expand_as(outputs[key]), rtol=0, atol=1e-6)
    outputs["one"].square().sum().div(6).backward()
    plain["one"].square().sum().backward()
    known = torch.cat([dict(net.named_parameters())[name].grad.reshape(-1) for name in model.selection.names])
    torch.testing.assert_close(model.family.location.grad, known, rtol=1e-5, atol=1e-6)


def test_conv_norm_tied_and_frozen_parameters():
    net = seeded(Tied)
    model = VariationalModule(net)
    assert "outside.weight" not in model.selection.names  # tied: once
    assert "outside.bias" not in model.selection.names  # frozen
    assert model.selection.dim == sum(p.numel() for p in net.parameters() if p.requires_grad)
    vectors = model.draw().values.detach()
    outputs = model.evaluate(vectors, image())
    for index, vector in enumerate(vectors):
        plain = model.sample_module(vector)
        assert plain.inside.weight is plain.outside.weight
        assert not any(parameter.requires_grad for parameter in plain.parameters())
        torch.testing.assert_close(plain(image())["one"], outputs["one"][index], rtol=1e-5, atol=1e-6)
    loop = VariationalModule(net, vectorise="loop").evaluate(vectors, image())
    assert torch.equal(loop["one"][1], model.sample_module(vectors[1])(image())["one"])
    assert net.encoder[0].weight.requires_grad  # the module that was given is left alone


def test_names_that_are_not_neighbours():
    net = mlp()
    model = VariationalModule(net, random=r"^[04]\.")
    assert model.selection.names == ("0.weight", "0.bias", "4.weight", "4.bias")
    assert {name for name, p in model.module.named_parameters() if p.requires_grad} == {"2.weight", "2.bias"}
    model(FEATURES).sum().backward()
    assert model.module[2].weight.grad is not None
    assert VariationalModule(net, random="last").selection.names == ("4.weight", "4.bias")
    # A tied parameter is found by its other name.
    assert select(seeded(Tied), "outside").names == ("inside.weight",)


@pytest.mark.parametrize("family", ["diagonal", "structured", "mixture", "full"])
def test_the_state_goes_round(family):
    model = VariationalModule(mlp(), family=family, seed=3)
    model(FEATURES)  # moves the generator
    state = {key: value.clone() for key, value in model.state_dict().items()}
    again = VariationalModule(mlp(), family=family, seed=9)
    again.load_state_dict(state)
    assert torch.equal(model(FEATURES), again(FEATURES))
    assert torch.equal(model.predict(FEATURES, samples=3), again.predict(FEATURES, samples=3))


def test_vmap_and_loop_agree():
    net = mlp()
    losses = []
    for options in ({"vectorise": "vmap"}, {"vectorise": "loop"}, {"vectorise": "vmap", "chunk_size": 3}):
        model = VariationalModule(net, rank=2, mode="unscented", pairs=1, **options)
        loss = model.loss(FEATURES, TARGETS, normal(0.5))
        loss.backward()
        losses.append((loss.detach(), model.family.location.grad))
    for loss, gradient in losses[1:]:
        torch.testing.assert_close(loss, losses[0][0], rtol=0, atol=1e-6)
        torch.testing.assert_close(gradient, losses[0][1], rtol=0, atol=1e-6)


def test_a_module_that_cannot_be_vectorised_is_looped():
    net = seeded(Untraceable)
    model = VariationalModule(net)
    assert model(torch.ones(4, 2)).shape[1:] == (4, 1)
    assert model.evaluator.loops
    model = VariationalModule(net)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        model(torch.ones(4, 3))  # torch's own words, and the module is not to blame
    assert not model.evaluator.loops
    with pytest.raises(ConfigError, match="take vectorise=loop"):
        VariationalModule(net, vectorise="vmap")(torch.ones(4, 2))


def test_dropout_is_off_or_refused():
    net = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.5), nn.Linear(8, 1)).double()
    model = VariationalModule(net).train()
    vectors = model.draw().values
    assert torch.equal(model.evaluate(vectors, FEATURES), model.evaluate(vectors, FEATURES))

    class Always(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.dropout(self.linear(x), 0.5, training=True)

    for vectorise in ("auto", "vmap", "loop"):
        with pytest.raises(ConfigError, match="draws random numbers"):
            VariationalModule(Always(), vectorise=vectorise)(torch.ones(1, 2))


def test_batch_norm_keeps_its_statistics():
    net = seeded(Tied)
    net(image())  # in training mode: statistics of the images
    model = VariationalModule(net).train()
    kept = model.module.encoder[2].running_mean.clone()
    model(image())
    assert torch.equal(model.module.encoder[2].running_mean, kept)
    assert torch.equal(net.encoder[2].running_mean, kept)


def linear_model(**options: object) -> VariationalModule:
    torch.manual_seed(0)
    return VariationalModule(nn.Linear(2, 1, bias=False).double(), prior=1.0, **options)


def target() -> GaussianTarget:
    return GaussianTarget.of_regression(FEATURES, TARGETS.squeeze(1), noise=0.5, prior=1.0)


def train(model: VariationalModule, steps: int) -> None:
    optimiser = torch.optim.Adam(model.parameters(), lr=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        loss = model.loss(FEATURES, TARGETS, normal(0.5))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()


def test_a_linear_layer_has_the_evidence_of_the_closed_form():
    model = linear_model(family="full", estimator="sampled")
    assert isinstance(model.family, Full)
    lower = torch.linalg.cholesky(torch.linalg.inv(target().precision))
    model.family.start(target().mean, lower)
    assert float(model.elbo(FEATURES, TARGETS, normal(0.5)).detach()) == pytest.approx(
        target().log_evidence, abs=1e-9
    )
    assert target().log_evidence == pytest.approx(-4.177048, abs=1e-6)


@pytest.mark.parametrize(
    ("family", "rank", "gap", "tolerance"),
    [("diagonal", None, 0.374830, 0.005), ("structured", 1, 0.0, 1e-5)],
)
def test_a_linear_layer_reaches_the_gap_of_its_family(family, rank, gap, tolerance):
    model = linear_model(family=family, rank=rank, estimator="stl", pairs=4)
    train(model, 500)
    assert float(target().gap(model.distribution).detach()) == pytest.approx(gap, abs=tolerance)
    draws = model.draw()
    density = target().log_density(draws.values)
    bound = model.elbo(FEATURES, TARGETS, normal(0.5), draws=draws)
    torch.testing.assert_close(bound, (draws.weights * (density + draws.neg_log_q)).sum())


@pytest.mark.parametrize("family", ["structured", "mixture"])
def test_the_mean_of_all_minibatches_is_the_whole(family):
    generator = torch.Generator().manual_seed(2)
    x, y = (
        torch.randn(12, 2, generator=generator, dtype=F64),
        torch.randn(12, 1, generator=generator, dtype=F64),
    )
    model = VariationalModule(mlp(), family=family)
    draws = model.draw()
    whole = model.elbo(x, y, normal(0.3), draws=draws)
    parts = [model.elbo(x[i : i + 4], y[i : i + 4], normal(0.3), size=12, draws=draws) for i in (0, 4, 8)]
    torch.testing.assert_close(torch.stack(parts).mean(), whole, rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize("estimator", ["closed", "sampled", "stl"])
def test_estimators_agree_in_the_mean(estimator):
    model = linear_model(rank=1, estimator=estimator, pairs=20_000)
    bound = float(model.elbo(FEATURES, TARGETS, normal(0.5)).detach())
    assert bound == pytest.approx(float(target().elbo(model.distribution).detach()), rel=0.01)


def test_the_kl_may_warm_up():
    model = linear_model(rank=1, estimator="closed")
    draws = model.draw()
    bounds = [model.elbo(FEATURES, TARGETS, normal(0.5), draws=draws, kl_weight=w) for w in (0.0, 0.5, 1.0)]
    torch.testing.assert_close(bounds[1], 0.5 * (bounds[0] + bounds[2]))


def test_the_same_seed_gives_the_same_trace():
    traces = []
    for _ in range(2):
        model = linear_model(rank=1, seed=4)
        train(model, 5)
        traces.append(torch.cat([p.detach().reshape(-1) for p in model.parameters()]))
    assert torch.equal(*traces)


def test_priors():
    net = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3), nn.Conv2d(2, 5, 3))
    chosen = select(net, "all")
    scales = chosen.unflatten(prior_scales(net, chosen, "fan_in"))
    known = {"0.weight": 0.5, "0.bias": 0.5, "1.weight": 1, "1.bias": 1}
    known |= {"2.weight": 1 / math.sqrt(18), "2.bias": 1 / math.sqrt(18)}
    for name, scale in known.items():
        torch.testing.assert_close(scales[name], torch.full_like(scales[name], scale))
    model = VariationalModule(net, prior=2.0, estimator="closed", rank=1)
    q = model.distribution.detached()
    wide = torch.distributions.MultivariateNormal(
        torch.zeros(model.selection.dim), 4 * torch.eye(model.selection.dim)
    )
    covariance = torch.distributions.MultivariateNormal(q.mean, q.covariance())
    kl = torch.distributions.kl_divergence(covariance, wide)
    torch.testing.assert_close(-model._complexity(model.draw()).detach(), kl, rtol=1e-4, atol=1e-2)


def test_starting_means():
    net = mlp()
    flat = select(net, "all").flatten(net)
    assert torch.equal(VariationalModule(net).family.location.detach(), flat)
    assert not VariationalModule(net, mean="zero").family.location.any()
    layer = VariationalModule(net, mean="layer").family.location.detach()
    assert not torch.equal(layer, flat)
    assert (layer[:10].abs() <= 1 / math.sqrt(2)).all()  # the initialiser of the first layer
    means = VariationalModule(net, family="mixture", components=3).family.normals.location.detach()
    assert torch.equal(means[0], flat)
    assert (means[1] - means[2]).norm() > 0.5
    given = VariationalModule(
        net, mean="layer", factory=lambda: nn.Sequential(*mlp())
    ).family.location.detach()
    assert torch.equal(given, flat)
    before = torch.get_rng_state()
    VariationalModule(net, mean="layer")
    assert torch.equal(before, torch.get_rng_state())


def test_the_predictive_density_is_a_mean_of_densities():
    model = linear_model(rank=1)
    state = model.generator.get_state()
    found = model.log_predictive(FEATURES, TARGETS, normal(0.5), samples=50)
    model.generator.set_state(state)
    outputs = model.predict(FEATURES, samples=50)
    densities = torch.distributions.Normal(outputs, 0.5).log_prob(TARGETS).exp().mean(0).squeeze(1)
    torch.testing.assert_close(found, densities.log())


def test_the_split_of_the_entropy():
    logits = torch.randn(50, 4, 3, generator=torch.Generator().manual_seed(0), dtype=F64)
    total, expected, mutual = entropy_split(logits)
    p = logits.softmax(-1)
    torch.testing.assert_close(total, torch.distributions.Categorical(p.mean(0)).entropy())
    torch.testing.assert_close(expected, torch.distributions.Categorical(p).entropy().mean(0))
    assert (mutual > 0).all()
    assert entropy_split(logits[:1])[2].abs().max() < 1e-12


def test_a_classifier_of_pixels():
    net = nn.Conv2d(1, 3, 3, padding=1)
    model = VariationalModule(net, rank=1)
    labels = torch.randint(3, (3, 6, 5), generator=torch.Generator().manual_seed(0))
    assert model.log_predictive(image(), labels, categorical, samples=4).shape == (3,)
    assert entropy_split(model.predict(image(), samples=4))[0].shape == (3, 6, 5)


def test_presets_fall_with_the_size():
    ranks = [preset(most).rank for most, _ in PRESETS] + [preset(10**8).rank]
    assert ranks == sorted(ranks, reverse=True)
    assert VariationalModule(nn.Linear(2, 1)).family.rank == 3  # no more than there are parameters


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"random": "decoder"}, "fits none of the trainable parameters: weight, bias"),
        ({"random": "("}, "is no regular expression"),
        ({"prior": 0.0}, "prior is 0.0; give a standard deviation above 0, or fan_in"),
        ({"prior": "wide"}, "prior is 'wide'"),
        ({"mean": "ones"}, "choose current, layer or zero"),
        ({"rank": 4}, "rank is 4; with 3 parameters"),
        ({"family": "diagonal", "rank": 2}, "has no rank"),
        ({"components": 2}, "take family=mixture"),
        ({"family": "mixture", "components": 0}, "components is 0"),
        ({"mode": "none"}, "mode is 'none'"),
        ({"chunk_size": -1}, "chunk_size is -1"),
        ({"chunk_size": 0}, "chunk_size is 0"),
        ({"pairs": 0}, "pairs is 0; give a whole number of at least 1"),
        ({"prior": math.inf}, "prior is inf"),
        ({"vectorise": "yes"}, "choose auto, vmap or loop"),
    ],
)
def test_bad_options_are_refused(options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        VariationalModule(nn.Linear(2, 1), **options)


def test_other_bad_input():
    model = VariationalModule(nn.Linear(2, 1))
    with pytest.raises(ConfigError, match="no parameter that requires a gradient"):
        VariationalModule(nn.Linear(2, 1).requires_grad_(False))
    with pytest.raises(ConfigError, match=r"give a torch\.nn\.Module"):
        VariationalModule(torch.tanh)  # type: ignore[arg-type]
    # A bound of a data set of no items, or under a negative KL, would be a number all the same.
    for options, sentence in (
        ({"size": 0}, "size.* is 0"),
        ({"size": -1}, "size"),
        ({"kl_weight": -1.0}, "kl_weight"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            model.loss(torch.ones(1, 2), torch.ones(1, 1), normal(1.0), **options)
    with pytest.raises(ConfigError, match="samples is 0"):
        model.predict(torch.ones(1, 2), samples=0)
    with pytest.raises(ConfigError, match=r"shape \(B,\)"):
        model.loss(torch.ones(1, 2), torch.ones(1, 1), lambda output, target: output - target)
    with pytest.raises(ConfigError, match="the targets"):
        model.loss(torch.ones(3, 2), torch.ones(3), normal(1.0))
    with pytest.raises(NumericalError, match="not finite"):
        model.loss(torch.full((1, 2), math.nan), torch.ones(1, 1), normal(1.0))
    with pytest.raises(ConfigError, match="std is 0"):
        normal(0.0)


def test_a_copy_goes_its_own_way():
    model = VariationalModule(mlp())
    twin = copy.deepcopy(model)
    assert torch.equal(model(FEATURES), twin(FEATURES))
    twin.family.location.data.add_(1)
    assert not torch.equal(model.family.location, twin.family.location)


def test_deterministic_parameters_are_trained_beside():
    model = VariationalModule(mlp(), random="last", rank=1)
    before = model.module[0].weight.detach().clone()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.1)
    model.loss(FEATURES, TARGETS, normal(0.5)).backward()
    optimiser.step()
    assert not torch.equal(model.module[0].weight, before)
    assert model.module[4].weight.grad is None  # stands in for what is drawn
