"""`fit`: a posterior for any log density over a vector, in one call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from medreg.errors import ConfigError, require_number, require_whole
from medreg.inference.variational.choice import make_family
from medreg.inference.variational.distribution import Distribution
from medreg.inference.variational.families import Family, Fresh, Mixture
from medreg.inference.variational.fitting import Fitting, LogDensity, checked

Callback = Callable[[Fitting, Tensor], None]


@dataclass(frozen=True)
class Posterior:
    """What a fit found.

    Attributes:
        distribution: the family at its fitted parameters, without gradients.
        elbo: the bound in nats at the end, from at least `elbo_samples` samples; a number a problem.
        elbo_error: Monte-Carlo standard error of `elbo`.
        history: the estimate of every step, (steps, *B).
        state: from which a longer fit may go on.
    """

    distribution: Distribution
    elbo: Tensor
    elbo_error: Tensor
    history: Tensor
    state: dict[str, Any]
    generator: torch.Generator = field(repr=False)

    @property
    def mean(self) -> Tensor:
        """(D,), or (P, D) of P problems."""
        return self.distribution.mean

    def variance(self) -> Tensor:
        """Of each entry, (D,) or (P, D)."""
        return self.distribution.variance()

    def covariance(self) -> Tensor:
        """(D, D) or (P, D, D)."""
        return self.distribution.covariance()

    def sample(self, count: int) -> Tensor:
        """Independent samples, (n, D) or (n, P, D); every call draws new ones."""
        require_whole("The number of samples", count, 1)
        return self.distribution.sample(count, self.generator)

    def log_prob(self, values: Tensor) -> Tensor:
        """Ln q, (n, D) → (n,) or (n, P, D) → (n, P)."""
        return self.distribution.log_prob(values)


def fit(
    log_density: LogDensity,
    dim: int,
    family: str = "structured",
    *,
    rank: int | None = None,
    components: int | None = None,
    mode: str = "paired",
    pairs: int = 4,
    steps: int = 2000,
    lr: float = 0.05,
    schedule: str = "cosine",
    betas: tuple[float, float] = (0.9, 0.999),
    estimator: str = "stl",
    seed: int = 0,
    batch: int | None = None,
    start: Tensor | None = None,
    scale: float = 1.0,
    callback: Callback | None = None,
    state: dict[str, Any] | None = None,
    elbo_samples: int = 1000,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> Posterior:
    """Fit a family to an unnormalised log density by stochastic gradients of the ELBO.

    Args:
        log_density: ln p(D, θ) up to a constant of your choice: (n, dim) → (n,), in torch; with `batch=P`
            (n, P, dim) → (n, P). With the constant of a joint density, `posterior.elbo` bounds the log evidence.
        dim: length of the vectors.
        family: diagonal, structured (diagonal + rank r), mixture (of structured), full.
        rank: r of structured and mixture; by default 1, or dim where that is less.
        components: of the mixture; by default 2.
        mode: single, paired, unscented or exhaustive joint samples, `pairs` draws of them a step.
        pairs: see `mode`.
        steps: of Adam.
        lr: learning rate at the start.
        schedule: cosine (to 0), constant or inverse (lr/(1 + 0.001 t)).
        betas: of Adam.
        estimator: closed, sampled or stl, whose noise vanishes where the family holds the posterior.
        seed: of everything that is drawn.
        batch: P independent problems of the same length, fitted side by side.
        start: starting mean, (dim,), (P, dim), for a mixture also (…, components, dim). By default zeros; components
            of a mixture start `scale` apart.
        scale: rough size of the entries: σ starts at a tenth of it.
        callback: called after every step with the fitting and the estimate of the bound.
        state: `fitting.state()` of a callback, or `posterior.state`; the same call goes on, bit by bit on a CPU.
        elbo_samples: for the bound at the end.
        dtype: of the parameters.
        device: of the parameters.

    Raises:
        ConfigError: an option that makes no sense, each in a sentence.
        NumericalError: a density that is not finite; names the step.
    """
    require_whole("elbo_samples", elbo_samples, 1)
    chosen = make_family(
        family, dim, rank=rank, usual_rank=1, components=components, batch=_batch_shape(batch), dtype=dtype,
        device=device,
    )  # fmt: skip
    fitting = Fitting(
        chosen, steps=steps, lr=lr, schedule=schedule, betas=betas, mode=mode, pairs=pairs, estimator=estimator,
        seed=seed,
    )  # fmt: skip
    fresh = _normal_draws(dim, scale, seed, dtype, device)
    chosen.initialise(fresh, mean=_start(start, chosen, fresh))
    if state is not None:
        fitting.load_state(state)
    return _run(fitting, log_density, callback, elbo_samples)


def _run(
    fitting: Fitting, log_density: LogDensity, callback: Callback | None, elbo_samples: int
) -> Posterior:
    """Take the steps that are left, and evaluate."""
    while not fitting.finished:
        bound = fitting.step(log_density)
        if callback is not None:
            callback(fitting, bound)
    state, distribution = fitting.state(), fitting.family.distribution().detached()
    last = evaluate(distribution, log_density, fitting, elbo_samples)
    return Posterior(distribution, *last, state["history"], state, fitting.generator)


@torch.no_grad()
def evaluate(
    distribution: Distribution, log_density: LogDensity, fitting: Fitting, samples: int
) -> tuple[Tensor, Tensor]:
    """The bound and its standard error, each (*B), from draws in portions as large as those of a step."""
    bounds = []
    for _ in range(max(2, -(-samples // fitting.samples))):
        draws = distribution.draw(fitting.mode, fitting.generator, fitting.pairs)
        value = checked(log_density, draws.values)
        bounds.append((draws.weights * (value + draws.neg_log_q)).sum(0))
    portions = torch.stack(bounds)
    return portions.mean(0), portions.std(0) / len(bounds) ** 0.5


def _batch_shape(batch: int | None) -> tuple[int, ...]:
    if batch is None:
        return ()
    require_whole("batch", batch, 1)
    return (batch,)


def _normal_draws(dim: int, scale: float, seed: int, dtype: torch.dtype, device: torch.device | str) -> Fresh:
    require_number("scale", scale, above=0)
    generator = torch.Generator(device).manual_seed(seed + 1)

    def fresh(shape: tuple[int, ...]) -> Tensor:
        return scale * torch.randn(*shape, dim, generator=generator, dtype=dtype, device=device)

    return fresh


def _start(start: Tensor | None, family: Family, fresh: Fresh) -> Tensor | None:
    if start is None:
        return None
    like = next(family.parameters())
    start = torch.as_tensor(start).to(dtype=like.dtype, device=like.device)
    wanted = [(family.dim,), (*family.batch, family.dim)]
    if isinstance(family, Mixture):
        many = (*family.batch, family.components, family.dim)
        if tuple(start.shape) == many or family.components == 1:
            return start
        wanted.append(many)
    if tuple(start.shape) not in wanted:
        choices = " or ".join(str(shape) for shape in dict.fromkeys(wanted))
        raise ConfigError(f"start has shape {tuple(start.shape)}; expected {choices}.")
    if isinstance(family, Mixture):
        return start.unsqueeze(-2) + fresh((*family.batch, family.components))
    return start
