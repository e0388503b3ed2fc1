"""One variational fit, step by step: what `fit` runs, and what others drive with an energy of their own."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from medreg.errors import ConfigError, NumericalError, require_choice, require_number, require_whole
from medreg.inference.variational.distribution import Draws
from medreg.inference.variational.estimators import check_estimator, elbo, with_gradient
from medreg.inference.variational.families import Family
from medreg.inference.variational.modes import samples_per_draw

Schedule = Literal["cosine", "constant", "inverse"]
LogDensity = Callable[[Tensor], Tensor]
INVERSE_DECAY = 1e-3  # per step, of lr/(1 + 0.001 t); Grzech et al., the schedule of Bayesian registration


class Fitting:
    """Adam on the ELBO of a family, resumable to the bit on a CPU.

    Either call `step(log_density)`, or drive it: `draws = fitting.draw()`, work out ln p and its gradient at
    `draws.values` in any way, `fitting.update(draws, log_density, gradient)`.

    Args:
        family: holds the parameters; problems *B are independent of each other, also in the optimiser.
        steps: how long the schedule is.
        lr: learning rate at the start.
        schedule: cosine (to 0 at the last step), constant, or inverse (lr/(1 + decay t)).
        decay: of the inverse schedule.
        betas: of Adam.
        mode: how the samples of a draw are coupled, see `modes`.
        pairs: draws a step.
        estimator: closed, sampled, stl; None: closed where there is a closed form, else stl.
        seed: of the generator that the fit owns.

    Raises:
        ConfigError: an option that makes no sense.
    """

    def __init__(
        self,
        family: Family,
        *,
        steps: int,
        lr: float,
        schedule: str = "cosine",
        decay: float = INVERSE_DECAY,
        betas: tuple[float, float] = (0.9, 0.999),
        mode: str = "paired",
        pairs: int = 1,
        estimator: str | None = None,
        seed: int = 0,
    ) -> None:
        check_optimiser(lr=lr, schedule=schedule, decay=decay, betas=betas)
        for name, value, least in (("steps", steps, 1), ("pairs", pairs, 1), ("seed", seed, -(2**63))):
            require_whole(name, value, least)
        samples_per_draw(mode, family.rank)
        self.family, self.steps, self.lr, self.schedule, self.decay = family, steps, lr, schedule, decay
        self.mode, self.pairs = mode, pairs
        self.estimator = check_estimator(estimator, family.distribution())
        self.optimiser = torch.optim.Adam(family.parameters(), lr=lr, betas=betas, fused=True)
        device = next(family.parameters()).device
        self.generator = torch.Generator(device).manual_seed(seed)
        self.history: list[Tensor] = []  # the bound before every step, (*B)

    @property
    def iteration(self) -> int:
        """Steps that were taken."""
        return len(self.history)

    @property
    def samples(self) -> int:
        """Evaluations of the density per step and component."""
        return self.pairs * samples_per_draw(self.mode, self.family.rank)

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self.iteration >= self.steps

    def rate(self) -> float:
        """The learning rate of the next step."""
        if self.schedule == "cosine":
            return self.lr * 0.5 * (1 + math.cos(math.pi * min(self.iteration / self.steps, 1.0)))
        return self.lr / (1 + self.decay * self.iteration) if self.schedule == "inverse" else self.lr

    def draw(self) -> Draws:
        """Joint samples `values` (n, *B, D) with `weights` (n, *B), joined to the parameters by their graph."""
        return self.family.distribution().draw(self.mode, self.generator, self.pairs)

    def update(self, draws: Draws, log_density: Tensor, gradient: Tensor | None = None) -> Tensor:
        """Take one step of Adam up the bound.

        Args:
            draws: of `draw`, at the present parameters.
            log_density: ln p(D, θ) at the samples, (n, *B); minus the energy.
            gradient: of ln p at each sample, (n, *B, D), where it was worked out elsewhere; without it `log_density`
                carries the graph.

        Returns:
            The estimate of the bound before the step, (*B), detached.

        Raises:
            NumericalError: the density or the gradient is not finite; names the step, and nothing was changed.
        """
        if gradient is not None:
            log_density = with_gradient(draws.values, log_density, gradient)
        bound = elbo(draws, log_density, self.estimator)
        self.optimiser.zero_grad(set_to_none=True)
        (-bound.sum()).backward()
        bound = bound.detach()
        self._require_finite(bound)
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate()
        self.optimiser.step()
        self.family.project()
        self.history.append(bound)
        return bound

    def step(self, log_density: LogDensity) -> Tensor:
        """Draw, evaluate (n, *B, D) → (n, *B) and update; returns the estimate of the bound, (*B)."""
        draws = self.draw()
        return self.update(draws, checked(log_density, draws.values, needs_graph=True))

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on, copied."""
        return {
            "family": {name: value.detach().clone() for name, value in self.family.state_dict().items()},
            "optimiser": _copy(self.optimiser.state_dict()),
            "generator": self.generator.get_state(),
            "history": torch.stack(self.history) if self.history else torch.zeros(0),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a state; on a CPU the steps that follow are the same to the bit.

        Raises:
            ConfigError: the state is of another family.
        """
        try:
            self.family.load_state_dict(state["family"])
            self.optimiser.load_state_dict(_copy(state["optimiser"]))
        except (KeyError, RuntimeError, ValueError) as error:
            raise ConfigError(
                f"The state to go on from does not fit this family and rank: {error}"
            ) from error
        self.generator.set_state(state["generator"].cpu())
        self.history = list(state["history"].unbind(0))

    def _require_finite(self, bound: Tensor) -> None:
        """One look at everything, which on an accelerator is one wait."""
        gradients = [p.grad.sum() for p in self.family.parameters() if p.grad is not None]
        if bool(torch.isfinite(torch.stack([bound.sum(), *gradients])).all()):
            return
        wrong = torch.nonzero(~torch.isfinite(bound.reshape(-1))).flatten().tolist()
        what = "The log density" if wrong else "The gradient of the log density"
        which = f" of problem {wrong[0]}" if wrong and bound.ndim else ""
        raise NumericalError(
            f"{what}{which} is not finite at step {self.iteration + 1} of {self.steps}. Check that it is finite for "
            "every vector, or lower lr, or start nearer to the solution."
        )


def checked(log_density: LogDensity, values: Tensor, *, needs_graph: bool = False) -> Tensor:
    """Evaluate a log density, (n, *B, D) → (n, *B).

    Raises:
        ConfigError: it returned something of another shape, or a constant.
    """
    out = log_density(values)
    if isinstance(out, Tensor) and out.is_complex():
        raise ConfigError("log_density returned complex numbers; return their real part, a number a vector.")
    if not isinstance(out, Tensor) or out.shape != values.shape[:-1]:
        got = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise ConfigError(
            f"log_density returned {got} for vectors of shape {tuple(values.shape)}; it has to return one number a "
            f"vector, shape {tuple(values.shape[:-1])}."
        )
    if needs_graph and not out.requires_grad:
        raise ConfigError(
            "log_density returned numbers without a gradient; compute them from its argument in torch."
        )
    return out


def check_optimiser(
    *, lr: float, schedule: str, decay: float, betas: Sequence[float], where: str = ""
) -> None:
    """Refuse settings of Adam and its schedule that make no sense.

    Args:
        lr: learning rate at the start.
        schedule: its name.
        decay: of the inverse schedule.
        betas: of Adam.
        where: put behind the name of an option, such as " of a variational fit".

    Raises:
        ConfigError: names the option.
    """
    require_choice(f"schedule{where}", schedule, get_args(Schedule))
    require_number(f"lr{where}", lr, above=0)
    require_number(f"decay{where}", decay, least=0)
    if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
        raise ConfigError(f"betas{where} is {list(betas)}; give two numbers, 0 or more and below 1.")


def _copy(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value
