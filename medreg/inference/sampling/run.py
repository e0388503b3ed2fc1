"""The loop of every sampler: burn-in, thinning, listeners, a safety stop per chain, and a state that survives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from medreg.errors import CompositionError, ConfigError, NumericalError
from medreg.inference.objective import EnergyFunction
from medreg.inference.sampling.draw import Draw, Listener, SamplingProgress
from medreg.inference.sampling.noise import Noise
from medreg.inference.sampling.plan import Plan
from medreg.inference.sampling.safety import Safety, Stop, Watch
from medreg.inference.sampling.sampler import Sampler
from medreg.inference.state_file import Resumable, StateFile

FieldOf = Callable[[Tensor], Tensor]  # state (S, ...) → what listeners see, (S, ...)
Scalars = Callable[[Tensor], Mapping[str, Tensor]]  # state (S, ...) → further numbers (S,) of it


@dataclass(frozen=True)
class Outcome:
    """What became of the chains; their samples went to the listeners.

    Attributes:
        z: (S, ...) last states.
        transitions: made by every chain, burn-in included.
        kept: (S,) samples kept of every chain.
        stops: chains that were stopped, when and why.
    """

    z: Tensor
    transitions: int
    kept: Tensor
    stops: tuple[Stop, ...]


class ChainsStopped(NumericalError):
    """Every chain was stopped; what they sampled until then is kept.

    Attributes:
        outcome: how far they came.
    """

    def __init__(self, message: str, outcome: Outcome) -> None:
        super().__init__(message)
        self.outcome = outcome


def sample(
    energy: EnergyFunction,
    start: Tensor,
    sampler: Sampler,
    *,
    plan: Plan,
    generator: torch.Generator,
    pairs: int = 1,
    variance: Tensor | None = None,
    field: FieldOf | None = None,
    listeners: Sequence[Listener] = (),
    scalars: Scalars | None = None,
    safety: Safety | None = None,
    keep: StateFile | None = None,
    progress: Callable[[SamplingProgress], None] | None = None,
) -> Outcome:
    """Run chains in one batch and tell the listeners of every sample that is kept.

    The sample after t transitions is kept if t > burn_in and t − burn_in is a multiple of `thin`: every chain gives
    transitions // thin. The place in the batch of a stopped chain is taken by a copy of another chain of its pair (by
    its own start, where none is left), and listeners hear no more of it: what the chains of a pair have in common,
    such as the numbers of a likelihood that adapts, then is not pulled away by a chain that was lost.

    With `keep`, the same call after a `kill -9` ends with the same bits as if nothing had happened (on a CPU), if
    the energy has `state` and `load_state` wherever its value depends on more than z. A finished sampling is answered
    from the file at once. One state file belongs to one call.

    Args:
        energy: U(z) = −ln posterior up to a constant, (S,).
        start: (S, ...) one start per chain, chain c of P pairs at c·P to (c + 1)·P.
        sampler: how chains move.
        plan: how many transitions, and which are kept.
        generator: source of all randomness of the sampler; it moves on by one draw.
        pairs: number P of pairs.
        variance: preconditioner σ², see `Sampler.begin`.
        field: from states to what listeners see, such as displacements in voxels; None shows the states.
        listeners: told of kept samples, in this order.
        scalars: from the states of a kept sample to further numbers (S,) for the listeners, such as the parts of the
            energy; called without gradient.
        safety: limits of a chain; None stops those alone that are not finite.
        keep: file of the whole state.
        progress: told after every transition.

    Raises:
        CompositionError: folds are to be looked for and there is no `field`; a preconditioner of another size.
        CheckpointError: the state file is damaged or belongs to another sampling.
        ChainsStopped: all chains were stopped.
        OSError: the state file cannot be written at the start. Later that is told, and the sampling goes on.
    """
    safety = Safety() if safety is None else safety
    if safety.fold_percent is not None and field is None:
        raise CompositionError(
            f"fold_percent={safety.fold_percent} asks for folds, and the sampling has no `field` that says what the "
            "displacement of a state is; give one, or fold_percent=null."
        )
    if not len(start) or len(start) % pairs:
        raise ConfigError(
            f"There are {len(start)} starts for {pairs} pairs; give one for every chain of every pair (chains=1 or "
            "more)."
        )
    run = _Run(energy, start, sampler, plan, generator, pairs, variance, field, listeners, scalars, safety)
    return run.go(keep, progress)


class _Run:
    """One call of `sample`."""

    def __init__(
        self,
        energy: EnergyFunction,
        start: Tensor,
        sampler: Sampler,
        plan: Plan,
        generator: torch.Generator,
        pairs: int,
        variance: Tensor | None,
        field: FieldOf | None,
        listeners: Sequence[Listener],
        scalars: Scalars | None,
        safety: Safety,
    ) -> None:
        self.energy, self.start, self.plan, self.safety = energy, start.detach(), plan, safety
        self.field, self.listeners, self.scalars, self.pairs = field, list(listeners), scalars, pairs
        noise = Noise.spawn(generator, len(start), device=start.device)
        self.chains = sampler.begin(self.start, noise, variance=variance)
        self.watch = Watch(safety, len(start), start[0].numel())
        self.kept = torch.zeros(len(start), dtype=torch.int64)
        self.made = 0  # transitions
        self.done = False
        self.made_by: dict[str, Any] = {
            "sampler": type(sampler).__name__,
            "settings": vars(sampler),
            "plan": asdict(plan),
            "shape": list(start.shape),
            "dtype": str(start.dtype),
            "listeners": [type(listener).__name__ for listener in listeners],
        }

    def go(self, keep: StateFile | None, progress: Callable[[SamplingProgress], None] | None) -> Outcome:
        """Evaluate, listen and move until the plan is done or no chain is left."""
        if keep is not None:
            self.resume(keep)
        while not self.done:
            gradient = self.evaluate(progress)
            self.done = self.made == self.plan.total or not self.watch.alive.any()
            if not self.done:
                self.advance(gradient)
            if keep is not None and (self.done or keep.due()):
                keep.update(self.state(), made_by=self.made_by)
        return self.outcome()

    def resume(self, keep: StateFile) -> None:
        """Go on from the file, or write the first one, so that a place that cannot be written is known at once."""
        found = keep.read(made_by=self.made_by)
        if found is None:
            keep.write(self.state(), made_by=self.made_by)
        else:
            with keep.loading():
                self.load_state(found)

    def evaluate(self, progress: Callable[[SamplingProgress], None] | None) -> Tensor:
        """The gradient (S, ...) at the proposed point, after everybody has looked at it."""
        point = self.chains.propose()
        energies, gradient = self.energy.value_and_gradient(point)
        self.watch.look_at_energies(energies, self.made)
        every, keeps = self.safety.every, self.plan.keeps(self.made)
        if keeps or (every and self.made > self.plan.burn_in and self.made % every == 0):
            self.look(point, energies, keeps)
        if progress is not None:
            alive = self.watch.alive
            progress(SamplingProgress(self.made, self.plan.total, self.plan.burn_in, energies, alive))
        return gradient

    @torch.no_grad()
    def look(self, point: Tensor, energies: Tensor, keeps: bool) -> None:
        """Look for folds, and tell the listeners of a kept sample."""
        shown = point if self.field is None else self.field(point)
        self.watch.look_at_folds(shown, self.made)
        alive = self.watch.alive
        if not keeps or not alive.any():
            return
        numbers = {} if self.scalars is None else self.scalars(point)
        draw = Draw(self.made, shown, alive, energies, numbers)
        for listener in self.listeners:
            listener(draw)
        self.kept += alive

    def advance(self, gradient: Tensor) -> None:
        """One transition; stopped chains give their place away."""
        self.chains.move(gradient)
        self.made += 1
        self.watch.look_at_state(self.chains.z, self.made)
        for slot in (~self.watch.alive).nonzero().flatten().tolist():
            others = self.watch.alive[slot % self.pairs :: self.pairs].nonzero().flatten().tolist()
            place = slot % self.pairs + others[0] * self.pairs if others else None
            self.chains.reset(slot, self.start[slot] if place is None else self.chains.z[place])

    def outcome(self) -> Outcome:
        """What became of the chains.

        Raises:
            ChainsStopped: none is left.
        """
        found = Outcome(self.chains.z, self.made, self.kept, tuple(self.watch.stops))
        if self.watch.alive.any():
            return found
        last = found.stops[-1]
        raise ChainsStopped(
            f"All {len(found.stops)} chains were stopped, the last after {last.transition} transitions because "
            f"{last.reason}. {int(self.kept.sum())} samples were kept. Lower step_size of the sampler, start from "
            "the variational fit, or look for NaN in the images.",
            found,
        )

    def state(self) -> dict[str, Any]:
        """All that the next transitions depend on."""
        return {
            "made": self.made,
            "done": self.done,
            "kept": self.kept,
            "chains": self.chains.state(),
            "watch": self.watch.state(),
            "energy": self.energy.state() if isinstance(self.energy, Resumable) else None,
            "listeners": [listener.state() for listener in self.listeners],
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.made, self.done, self.kept = state["made"], state["done"], state["kept"]
        self.chains.load_state(state["chains"])
        self.watch.load_state(state["watch"])
        if isinstance(self.energy, Resumable):
            self.energy.load_state(state["energy"])
        for listener, gathered in zip(self.listeners, state["listeners"], strict=True):
            listener.load_state(gathered)
