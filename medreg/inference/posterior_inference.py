"""How the posterior of a registration is explored: by a variational fit, or by chains that may start from one."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from medreg.errors import ConfigError, require_choice
from medreg.inference.posterior import PosteriorEnergy
from medreg.inference.sampling.account import Account
from medreg.inference.sampling.draw import Draw, Listener, SamplingProgress
from medreg.inference.sampling.plan import Plan
from medreg.inference.sampling.run import ChainsStopped, Outcome, sample
from medreg.inference.sampling.safety import Safety
from medreg.inference.sampling.sampler import Sampler
from medreg.inference.sampling.starts import Start, from_identity, from_noise, from_variational
from medreg.inference.state_file import StateFile
from medreg.inference.variational_pairs import VariationalFit, VariationalPosterior

Origin = Literal["vi", "identity", "noise"]
Preconditioner = Literal["vi", "none"]
Tell = Callable[[int, int, Tensor, Tensor], None]  # stage, iteration, z, energies
FIT, SAMPLING = 0, 1  # stages


@dataclass(frozen=True)
class Kept:
    """Where the state of an inference is kept while it runs.

    Attributes:
        folder: made if need be, and nobody else's.
        every_s: seconds from one state to the next.
    """

    folder: Path
    every_s: float = 30.0

    def of(self, name: str) -> Kept:
        """The place of one inference, such as that of certain images, so that no other goes on from it."""
        return Kept(self.folder / name, self.every_s)

    def file(self, stage: str) -> StateFile:
        """The file of one stage."""
        return StateFile(self.folder / f"{stage}.state", every_s=self.every_s)

    def remove(self) -> None:
        """Forget all states."""
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass(frozen=True)
class Inferred:
    """What an inference leaves; its samples went to the listeners.

    Attributes:
        point: (P, ...) the z of the single answer: the variational mean, or None where it is the mean of the samples.
        fit: the variational posterior, if one was fitted.
        account: what is told of it beside the samples.
    """

    point: Tensor | None
    fit: VariationalPosterior | None
    account: Account


class PosteriorInference(ABC):
    """Explores p(z | F, M) of P pairs and tells listeners of samples of the displacement."""

    @property
    @abstractmethod
    def chains(self) -> int:
        """Samples of each pair in a batch that listeners are told of."""

    @property
    @abstractmethod
    def samples(self) -> int:
        """Samples of each pair, of all chains."""

    @property
    @abstractmethod
    def effort(self) -> tuple[int, ...]:
        """Iterations of each stage."""

    @abstractmethod
    def run(
        self,
        energy: PosteriorEnergy,
        *,
        seed: int,
        listeners: Sequence[Listener],
        keep: Kept | None = None,
        tell: Tell | None = None,
    ) -> Inferred:
        """Explore.

        Args:
            energy: U of P pairs.
            seed: of all noise.
            listeners: told of displacements (chains·P, D, *S), voxels.
            keep: where the state is kept, so that the same call goes on after a `kill -9` and ends with the same
                bits (on a CPU).
            tell: told of every iteration of every stage.
        """


class VariationalInference(PosteriorInference):
    """A variational fit, and samples from it.

    Args:
        variational: the fit.
        samples: drawn from it afterwards.

    Raises:
        ConfigError: no samples.
    """

    def __init__(self, *, variational: VariationalFit, samples: int) -> None:
        if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
            raise ConfigError(f"inference.samples is {samples!r}; give a whole number of at least 1.")
        self.variational, self._samples = variational, samples

    @property
    def chains(self) -> int:
        """Samples come one by one."""
        return 1

    @property
    def samples(self) -> int:
        """Drawn from the fit."""
        return self._samples

    @property
    def effort(self) -> tuple[int, ...]:
        """Of the fit and of drawing."""
        return (self.variational.iterations, self._samples)

    def run(
        self,
        energy: PosteriorEnergy,
        *,
        seed: int,
        listeners: Sequence[Listener],
        keep: Kept | None = None,
        tell: Tell | None = None,
    ) -> Inferred:
        """Fit, then draw."""
        fit = _fit(self.variational, energy, seed, keep, tell)
        generator = torch.Generator(fit.mean.device).manual_seed(seed + 1)
        alive = torch.ones(len(fit.mean), dtype=torch.bool)
        with torch.no_grad():
            for number in range(1, self._samples + 1):
                z = fit.sample(generator)
                energies = torch.full((len(z),), float("nan"), dtype=torch.float64)
                draw = Draw(number, energy.deformation(z).displacement, alive, energies)
                for listener in listeners:
                    listener(draw)
                if tell is not None:
                    tell(SAMPLING, number, z, energies)
        return Inferred(fit.mean, fit, Account(bound=torch.stack(fit.history)))


class ChainInference(PosteriorInference):
    """Stochastic-gradient Markov chains, usually from a variational fit and preconditioned by its σ².

    Args:
        sampler: SGLD or SGHMC.
        variational: the fit; None where neither the start nor the preconditioner needs one.
        start: each chain at a draw of its own from the fit ("vi"), at the "identity", or at white "noise".
        precondition: σ² of the fit ("vi"), or "none", which is 1.
        chains: of every pair, in one batch.
        burn_in, transitions, thin: see `sampling.plan.Plan`.
        safety: limits of a chain.
        adapt: whether the numbers of likelihood and prior are stepped along, once a transition, as in the paper.

    Raises:
        ConfigError: a start or preconditioner by a fit that there is not; numbers that make no sense.
    """

    def __init__(
        self,
        *,
        sampler: Sampler,
        variational: VariationalFit | None,
        start: Origin,
        precondition: Preconditioner,
        chains: int,
        burn_in: int,
        transitions: int,
        thin: int,
        safety: Safety | None = None,
        adapt: bool = True,
    ) -> None:
        require_choice("inference.start", start, get_args(Origin))
        require_choice("inference.precondition", precondition, get_args(Preconditioner))
        if variational is None and "vi" in (start, precondition):
            raise ConfigError(
                f"inference.start={start} and inference.precondition={precondition} need a variational fit; set "
                "inference.variational, or start=identity precondition=none."
            )
        if isinstance(chains, bool) or not isinstance(chains, int) or chains < 1:
            raise ConfigError(f"inference.chains is {chains!r}; give a whole number of at least 1.")
        self.sampler, self.safety, self.adapt = sampler, safety, adapt
        self.variational = variational if "vi" in (start, precondition) else None
        self.start, self.precondition, self._chains = start, precondition, chains
        self.plan = Plan(burn_in, transitions, thin)

    @property
    def chains(self) -> int:
        """Of every pair."""
        return self._chains

    @property
    def samples(self) -> int:
        """Of all chains."""
        return self.plan.samples(self._chains)

    @property
    def effort(self) -> tuple[int, ...]:
        """Of the fit and of the chains."""
        return (0 if self.variational is None else self.variational.iterations, self.plan.total)

    def run(
        self,
        energy: PosteriorEnergy,
        *,
        seed: int,
        listeners: Sequence[Listener],
        keep: Kept | None = None,
        tell: Tell | None = None,
    ) -> Inferred:
        """Fit where a fit is needed, then sample."""
        fit = None if self.variational is None else _fit(self.variational, energy, seed, keep, tell)
        generator = torch.Generator(energy.images.fixed.device).manual_seed(seed + 1)
        start = self._starts(energy, fit, generator)
        several = energy.chains(self._chains)
        several.adaptive = self.adapt

        def progress(now: SamplingProgress) -> None:
            if tell is not None:
                tell(SAMPLING, now.transition, start.z, now.energies)

        try:
            outcome = sample(
                several,
                start.z,
                self.sampler,
                plan=self.plan,
                generator=generator,
                pairs=energy.pairs,
                variance=start.variance,
                field=lambda z: several.deformation(z).displacement,
                listeners=listeners,
                safety=self.safety,
                keep=None if keep is None else keep.file("sampling"),
                progress=progress,
            )
        except ChainsStopped as error:
            if fit is None and not int(error.outcome.kept.sum()):
                raise
            return self._inferred(error.outcome, fit, energy.pairs)
        return self._inferred(outcome, fit, energy.pairs)

    def _starts(
        self, energy: PosteriorEnergy, fit: VariationalPosterior | None, generator: torch.Generator
    ) -> Start:
        if self.start == "vi":
            assert fit is not None
            start = from_variational(
                fit.mean, fit.log_std, fit.factor, chains=self._chains, generator=generator
            )
        elif self.start == "noise":
            start = from_noise(energy.identity(), chains=self._chains, generator=generator)
        else:
            start = from_identity(energy.identity(), chains=self._chains)
        variance = None if fit is None or self.precondition == "none" else fit.log_std.mul(2).exp()
        return Start(start.z, variance)

    def _inferred(self, outcome: Outcome, fit: VariationalPosterior | None, pairs: int) -> Inferred:
        notes = [
            f"chain {stop.slot // pairs + 1}{f' of slice {stop.slot % pairs}' if pairs > 1 else ''} was stopped after "
            f"{stop.transition} transitions: {stop.reason}; its {int(outcome.kept[stop.slot])} samples are kept"
            for stop in outcome.stops
        ]
        if len(outcome.stops) == len(outcome.kept):
            notes.append("no chain reached the end: lower inference.sampler.step_size")
        bound = None if fit is None else torch.stack(fit.history)
        if fit is not None and not int(outcome.kept.sum()):
            notes.append("there is no sample; the mean of the variational fit stands")
            return Inferred(fit.mean, fit, Account(bound, outcome.stops, tuple(notes)))
        return Inferred(None, fit, Account(bound, outcome.stops, tuple(notes)))


def _fit(
    settings: VariationalFit, energy: PosteriorEnergy, seed: int, keep: Kept | None, tell: Tell | None
) -> VariationalPosterior:
    def told(iteration: int, z: Tensor, energies: Tensor) -> None:
        if tell is not None:
            tell(FIT, iteration, z, energies)

    return settings.fit(energy, seed=seed, keep=None if keep is None else keep.file("fit"), tell=told)
