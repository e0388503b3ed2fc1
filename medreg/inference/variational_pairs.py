"""A variational posterior for every pair of a batch: q(z) = N(μ, diag(σ²) + Σ_j u_j u_jᵀ), fitted to exp(−U)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import get_args

import torch
from torch import Tensor

from medreg.errors import require_choice, require_number, require_whole
from medreg.inference.posterior import PosteriorEnergy
from medreg.inference.state_file import StateFile
from medreg.inference.variational.estimators import Estimator
from medreg.inference.variational.families import Structured
from medreg.inference.variational.fitting import Fitting, check_optimiser

log = logging.getLogger("medreg")
Tell = Callable[[int, Tensor, Tensor], None]  # iteration, z (2P, ...), energies (2P,)
Parts = dict[str, Tensor]  # of one pair: mean (N,), log_std (N,) and factor (r, N), flattened
MIRRORED = 2  # samples of a draw: μ ± δ


@dataclass(frozen=True)
class VariationalFit:
    """How the variational posterior of a registration is fitted.

    Attributes:
        rank: number of directions u_j that all unknowns share; 0 is mean field.
        iterations: steps of Adam, each with the mirrored pair of samples μ ± (σ ⊙ ε + Σ_j x_j u_j).
        std: σ at the start, voxels.
        factor: u at the start, voxels: constant where there is one direction, noise of that size where there are
            several, which would not part otherwise.
        lr: of Adam at the start.
        schedule: "inverse" is lr/(1 + decay t), "cosine" falls to 0, "constant".
        decay: of the inverse schedule.
        betas: of Adam.
        estimator: "closed" takes the entropy in closed form, "sampled" the mean of −ln q of the samples, as the
            released code does; the same in the mean, with more noise.

    Raises:
        ConfigError: numbers that make no sense.

    References:
        Grzech et al., Uncertainty quantification in non-rigid image registration via stochastic gradient Markov
        chain Monte Carlo, MELBA 2021:016.
    """

    rank: int
    iterations: int
    std: float
    factor: float
    lr: float
    schedule: str
    decay: float
    betas: tuple[float, float]
    estimator: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "betas", tuple(self.betas))
        where = " of a variational fit"
        require_number(f"std{where}", self.std, above=0)
        require_number(f"factor{where}", self.factor)
        require_whole(f"rank{where}", self.rank, 0)
        require_whole(f"iterations{where}", self.iterations, 1)
        require_choice(f"estimator{where}", self.estimator, get_args(Estimator))
        check_optimiser(lr=self.lr, schedule=self.schedule, decay=self.decay, betas=self.betas, where=where)

    def fit(
        self,
        energy: PosteriorEnergy,
        *,
        seed: int,
        keep: StateFile | None = None,
        tell: Tell | None = None,
        earlier: Sequence[Parts | None] = (),
    ) -> VariationalPosterior:
        """Fit q to the posterior of every pair, all at once.

        Killed in the middle, the same call with the same `keep` ends with the same bits (on a CPU).

        Args:
            energy: U of P pairs; its likelihood and prior are stepped along.
            seed: of the noise.
            keep: file of the whole state, None keeps none.
            tell: told after every iteration.
            earlier: where earlier fits of the pairs ended, None for a pair without one; those of another size are
                passed over.

        Raises:
            NumericalError: an energy or a gradient that is not finite; names the iteration.
            CheckpointError: the file belongs to another fit.
        """
        fitting = self._begin(energy, seed, earlier)
        mirrored = energy.chains(MIRRORED)
        mirrored.adaptive = True
        made_by = {**asdict(self), "betas": list(self.betas), "seed": seed, "shape": list(energy.shape)}
        found = None if keep is None else keep.read(made_by=made_by)
        if keep is not None and found is not None:
            with keep.loading():
                fitting.load_state(found["fitting"])
                mirrored.load_state(found["energy"])
        while not fitting.finished:
            self._step(fitting, mirrored, tell)
            if keep is not None and (fitting.finished or keep.due()):
                state = {"fitting": fitting.state(), "energy": mirrored.state()}
                keep.write(state, made_by=made_by)
        self._warn(fitting.history)
        return VariationalPosterior(fitting.family, energy.shape, fitting.history)  # type: ignore[arg-type]

    def _warn(self, history: list[Tensor]) -> None:
        """Say of how many pairs the fit is worse than its start."""
        last = torch.stack(history[-max(len(history) // 10, 1) :]).mean(0)
        worse = int((last < history[0]).sum())
        if worse:
            log.warning(
                "The variational fit of %d of %d pairs ended with a lower bound than it began with: it is of "
                "no use. Lower inference.variational.lr (now %g) or give it more iterations.",
                worse,
                len(last),
                self.lr,
            )

    def _begin(self, energy: PosteriorEnergy, seed: int, earlier: Sequence[Parts | None]) -> Fitting:
        first = energy.beginning()
        pairs, unknowns = len(first), first[0].numel()
        family = Structured(
            unknowns,
            self.rank,
            batch=(pairs,),
            parametrisation="direct",
            dtype=first.dtype,
            device=first.device,
        )
        noise = torch.Generator(first.device).manual_seed(seed)
        directions = first.new_full((1, 1, 1), self.factor)
        if self.rank > 1:
            shape = (1, self.rank, unknowns)
            directions = self.factor * torch.randn(shape, generator=noise, device=first.device).to(first)
        family.start(first.flatten(1), self.std, directions)
        _go_on(family, earlier)
        return Fitting(
            family,
            steps=self.iterations,
            lr=self.lr,
            schedule=self.schedule,
            decay=self.decay,
            betas=self.betas,
            mode="paired",
            pairs=1,
            estimator=self.estimator,
            seed=seed,
        )

    def _step(self, fitting: Fitting, energy: PosteriorEnergy, tell: Tell | None) -> None:
        with torch.enable_grad():  # whoever asks may be testing, without gradients
            draws = fitting.draw()
            z = draws.values.detach().reshape(energy.shape)
            energies, gradient = energy.value_and_gradient(z)
            fitting.update(draws, -energies.reshape(MIRRORED, -1), -gradient.reshape(draws.values.shape))
        if tell is not None:
            tell(fitting.iteration, z, energies)


class VariationalPosterior:
    """The fitted q of P pairs.

    Args:
        family: its parameters.
        shape: (P, ...) of z.
        history: the bound before every step, (P,) each, nats, up to the constant of U.
    """

    def __init__(self, family: Structured, shape: tuple[int, ...], history: list[Tensor]) -> None:
        self.shape, self.history = shape, history
        with torch.no_grad():
            self.distribution = family.distribution().detached()

    @property
    def mean(self) -> Tensor:
        """μ (P, ...)."""
        return self.distribution.mean.reshape(self.shape)

    @property
    def log_std(self) -> Tensor:
        """Ln σ (P, ...), without the part of the shared directions."""
        return self.distribution.log_std.reshape(self.shape)

    @property
    def factor(self) -> Tensor:
        """The directions u (P, r, ...)."""
        directions: Tensor = self.distribution.factor
        return directions.reshape(self.shape[0], -1, *self.shape[1:])

    def sample(self, generator: torch.Generator) -> Tensor:
        """One z of every pair, (P, ...)."""
        return self.distribution.sample(1, generator)[0].reshape(self.shape)

    def parts(self) -> list[Parts]:
        """Return what a later fit of every pair may go on from, on the CPU."""
        names = ("mean", "log_std", "factor")
        tensors = (self.mean.flatten(1), self.log_std.flatten(1), self.factor.flatten(2))
        return [
            {name: each.cpu().clone() for name, each in zip(names, pair, strict=True)}
            for pair in zip(*tensors, strict=True)
        ]


@torch.no_grad()
def _go_on(family: Structured, earlier: Sequence[Parts | None]) -> None:
    """Put earlier fits in place of the usual start."""
    for number, each in enumerate(earlier):
        if each is None or each["mean"].shape != family.location.shape[1:]:
            continue
        family.location[number] = each["mean"].to(family.location)
        family.log_std[number] = each["log_std"].to(family.location)
        if family.directions is not None and each["factor"].shape == family.directions.shape[1:]:
            family.directions[number] = each["factor"].to(family.location)
