"""Any `torch.nn.Module` with a distribution over its parameters."""

from __future__ import annotations

import copy
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor, nn

from medreg.errors import ConfigError, NumericalError, require_choice, require_number, require_whole
from medreg.inference.variational.choice import make_family
from medreg.inference.variational.distribution import Distribution, Draws
from medreg.inference.variational.estimators import check_estimator, elbo
from medreg.inference.variational.evaluation import Evaluator
from medreg.inference.variational.families import LEVEL, Mixture
from medreg.inference.variational.modes import samples_per_draw
from medreg.inference.variational.predictive import LogLikelihood, log_mean_density
from medreg.inference.variational.presets import preset
from medreg.inference.variational.selection import Factory, fresh_vectors, prior_scales, select

Mean = Literal["current", "layer", "zero"]


class VariationalModule(nn.Module):
    """A module whose parameters are drawn from a family that is fitted to the posterior.

    A copy of the module is kept in evaluation mode: dropout is off, and batch norms use their stored statistics, which
    stay as they are. Parameters that are not random stay ordinary parameters; frozen ones stay frozen.

    Args:
        module: any module; it is copied.
        family: diagonal, structured, mixture or full.
        rank: of structured and mixture; by default of `presets.preset`, as are mode, pairs and chunk_size.
        components: of the mixture; by default 2.
        random: `all`, `last` (layer), or a regular expression of parameter names.
        prior: standard deviation of a zero-mean normal, or `fan_in` for 1/√fan_in of each layer.
        mode: single, paired, unscented or exhaustive joint samples, `pairs` draws of them a step.
        pairs: see `mode`.
        estimator: closed, sampled or stl; None: closed where there is a closed form, else stl.
        mean: start at the values that the module has (`current`), at a fresh draw of its initialiser (`layer`), or at
            zeros, a saddle point of networks with several layers. Components of a mixture after the first always
            start at fresh draws.
        level: σ at the start over the RMS of a freshly initialised tensor.
        factory: makes a freshly initialised module; without it `reset_parameters` of the layers does.
        vectorise: auto, vmap or loop.
        chunk_size: parameter vectors evaluated side by side.
        seed: of everything that is drawn.

    Raises:
        ConfigError: an option that makes no sense.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        family: str = "structured",
        rank: int | None = None,
        components: int | None = None,
        random: str = "all",
        prior: float | str = 1.0,
        mode: str | None = None,
        pairs: int | None = None,
        estimator: str | None = None,
        mean: str = "current",
        level: float = LEVEL,
        factory: Factory | None = None,
        vectorise: str = "auto",
        chunk_size: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not isinstance(module, nn.Module):
            raise ConfigError(f"module is a {type(module).__name__}; give a torch.nn.Module.")
        for option, value in (("pairs", pairs), ("chunk_size", chunk_size)):
            if value is not None:
                require_whole(option, value, 1)
        require_whole("seed", seed, -(2**63))
        require_choice("mean", mean, get_args(Mean))
        self.module = copy.deepcopy(module).eval()
        self.selection = select(self.module, random)
        self.register_buffer("scales", prior_scales(self.module, self.selection, prior), persistent=False)
        usual = preset(self.selection.dim)
        self.mode, self.pairs = mode or usual.mode, pairs or usual.pairs
        self.evaluator = Evaluator(self.selection, vectorise, chunk_size or usual.chunk_size)
        self.family = make_family(
            family, self.selection.dim, rank=rank, usual_rank=usual.rank, components=components,
            segments=self.selection.sizes, dtype=self.scales.dtype, device=self.scales.device,
        )  # fmt: skip
        samples_per_draw(self.mode, self.family.rank)  # refuses what nobody can pay
        self.estimator = check_estimator(estimator, self.family.distribution())
        self._initialise(mean, level, seed, factory)
        for name, parameter in self.module.named_parameters():
            if name in self.selection.names:
                parameter.requires_grad_(False)
        self._seed = seed
        self._generator = torch.Generator(self.scales.device).manual_seed(seed)

    scales: Tensor

    @property
    def distribution(self) -> Distribution:
        """The distribution of the flat vector of random parameters, at the present values of the family."""
        return self.family.distribution()

    def draw(self) -> Draws:
        """Joint samples of the random parameters, `values` (n, D)."""
        return self.distribution.draw(self.mode, self.generator, self.pairs)

    def forward(self, *inputs: Any) -> Any:
        """Outputs of one draw, stacked: (n, …)."""
        return self.evaluate(self.draw().values, *inputs)

    def evaluate(self, vectors: Tensor, *inputs: Any) -> Any:
        """Outputs at given parameter vectors (n, D), stacked: (n, …)."""
        return self.evaluator(self.module, vectors, inputs)

    def elbo(
        self,
        inputs: Any,
        targets: Any,
        log_likelihood: LogLikelihood,
        *,
        size: int | None = None,
        kl_weight: float = 1.0,
        draws: Draws | None = None,
    ) -> Tensor:
        """The bound of a minibatch in nats: (N/B) Σ ln p(y|x, θ) + kl_weight · (E ln p(θ) + H).

        Args:
            inputs: of the module; a tuple for several.
            targets: passed to the likelihood.
            log_likelihood: (output of one sample, targets) → (B,), such as of `predictive`.
            size: N, items of the whole data set; by default those of the batch.
            kl_weight: below 1 while it warms up; then this is no bound.
            draws: of `draw`, to use noise again.

        Raises:
            ConfigError: the likelihood does not return one number an item.
            NumericalError: the bound is not finite.
        """
        if size is not None:
            require_whole("size, the number of items of the whole data set,", size, 1)
        require_number("kl_weight", kl_weight, least=0)
        draws = self.draw() if draws is None else draws
        density = self._log_likelihoods(draws.values, inputs, targets, log_likelihood)
        factor = 1.0 if size is None else size / density.shape[1]
        fidelity = factor * (draws.weights * density.sum(1)).sum()
        bound = fidelity + kl_weight * self._complexity(draws)
        if not bool(torch.isfinite(bound)):
            raise NumericalError(
                "The bound is not finite. Check the inputs and the likelihood, or lower the learning rate."
            )
        return bound

    def loss(self, inputs: Any, targets: Any, log_likelihood: LogLikelihood, **options: Any) -> Tensor:
        """Minus the bound of `elbo`, with the same options: what an optimiser minimises."""
        return -self.elbo(inputs, targets, log_likelihood, **options)

    @torch.no_grad()
    def predict(self, *inputs: Any, samples: int = 100) -> Any:
        """Outputs at independent draws, stacked: (samples, …)."""
        return self.evaluate(self._independent(samples), *inputs)

    @torch.no_grad()
    def log_predictive(
        self, inputs: Any, targets: Any, log_likelihood: LogLikelihood, *, samples: int = 100
    ) -> Tensor:
        """Ln of the mean density over independent draws, (B,)."""
        return log_mean_density(
            self._log_likelihoods(self._independent(samples), inputs, targets, log_likelihood)
        )

    def sample_module(self, vector: Tensor | None = None) -> nn.Module:
        """An ordinary frozen module at one draw, or at the vector given, (D,)."""
        vector = self._independent(1)[0] if vector is None else vector.detach()
        frozen = copy.deepcopy(self.module)
        named = dict(frozen.named_parameters(remove_duplicate=False))
        with torch.no_grad():
            for name, value in self.selection.unflatten(vector).items():
                named[name].copy_(value)
        return frozen.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Self:
        """The module inside stays in evaluation mode."""
        super().train(mode)
        self.module.eval()
        return self

    @property
    def generator(self) -> torch.Generator:
        """Of all draws; a new one with the same seed after a move to another device."""
        if self._generator.device != self.scales.device:
            self._generator = torch.Generator(self.scales.device).manual_seed(self._seed)
        return self._generator

    def get_extra_state(self) -> Tensor:
        """The generator is part of the state, so that a resumed training draws what it would have drawn."""
        return self.generator.get_state()

    def set_extra_state(self, state: Tensor) -> None:
        """See `get_extra_state`."""
        self.generator.set_state(state.cpu())

    def _independent(self, samples: int) -> Tensor:
        require_whole("samples", samples, 1)
        return self.distribution.detached().sample(samples, self.generator)

    def _complexity(self, draws: Draws) -> Tensor:
        """E_q[ln p(θ)] + H(q), by the estimator."""
        zero = self.scales.new_zeros(())
        if self.estimator == "closed":
            q = draws.distribution
            return q.expected_normal(zero, self.scales) + q.entropy()
        prior = torch.distributions.Normal(zero, self.scales, validate_args=False)
        return elbo(draws, prior.log_prob(draws.values).sum(-1), self.estimator)

    def _log_likelihoods(
        self, vectors: Tensor, inputs: Any, targets: Any, log_likelihood: LogLikelihood
    ) -> Tensor:
        """(n, B)."""
        arguments = inputs if isinstance(inputs, tuple) else (inputs,)
        found = self.evaluator(
            self.module, vectors, arguments, lambda output: log_likelihood(output, targets)
        )
        if not isinstance(found, Tensor) or found.ndim != 2:
            got = tuple(found.shape[1:]) if isinstance(found, Tensor) else type(found).__name__
            raise ConfigError(
                f"The log-likelihood returned {got}; it has to return one number an item, shape (B,)."
            )
        return found

    def _initialise(self, mean: str, level: float, seed: int, factory: Factory | None) -> None:
        fresh = fresh_vectors(self.module, self.selection, seed, factory)
        many = self.family.components if isinstance(self.family, Mixture) else 1
        start = torch.zeros_like(self.scales)
        if mean != "zero":
            start = self.selection.flatten(self.module) if mean == "current" else fresh(())
        if many > 1:
            start = torch.cat([start.unsqueeze(0), fresh((many - 1,))])
        self.family.initialise(fresh, mean=start, level=level)
