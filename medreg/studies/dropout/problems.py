"""Regressions of the study: several data sets of one kind, each a case, with known noise and a normal prior.

Parameters of all data sets are handled side by side: a state is (n, P, D). Everything is float64.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from medreg.errors import ConfigError
from medreg.inference.comparators.linear_gaussian import LinearGaussian
from medreg.inference.comparators.predictive import PROMINENCE

DTYPE = torch.float64


@dataclass(frozen=True)
class DataSet:
    """One data set; targets of test points come from the truth, noise included.

    Attributes:
        name: of the case.
        inputs: (N,).
        targets: (N,).
        test_inputs: (T,).
        test_targets: (T,).
        truth: the parameters that made it, (D,), where the model holds the truth.
    """

    name: str
    inputs: Tensor
    targets: Tensor
    test_inputs: Tensor
    test_targets: Tensor
    truth: Tensor | None = None


@dataclass(frozen=True)
class Problem(ABC):
    """Data sets of one kind, and the model of them.

    Attributes:
        noise: standard deviation of the noise.
        prior: standard deviation of every parameter.
        points: inputs at which predictions are looked at one by one.
        centre: input at which modes are counted, where the data say least.
        prominence: of a mode, as a share of the highest peak; more where densities are made of draws.
        sets: P data sets.
    """

    noise: float
    prior: float
    points: tuple[float, ...]
    centre: float
    prominence: float
    sets: tuple[DataSet, ...]

    @property
    @abstractmethod
    def dim(self) -> int:
        """Number of parameters, D."""

    @abstractmethod
    def function(self, parameters: Tensor, inputs: Tensor) -> Tensor:
        """Noise-free predictions (…, N) of parameters (…, D) at inputs (…, N) or (N,)."""

    def log_joint(self, state: Tensor) -> Tensor:
        """Ln p(y, θ), (…, P), of parameters (…, P, D)."""
        count = self.inputs.shape[1]
        constant = count * math.log(self.noise) + self.dim * math.log(self.prior)
        constant += 0.5 * (count + self.dim) * math.log(2 * math.pi)
        misfit = self.misfit(self.function(state, self.inputs))
        return -misfit - 0.5 * (state / self.prior).square().sum(-1) - constant

    def misfit(self, predictions: Tensor) -> Tensor:
        """‖y − f‖²/(2σ²) of predictions (…, P, N), (…, P)."""
        return 0.5 * ((self.targets - predictions) / self.noise).square().sum(-1)

    @property
    def inputs(self) -> Tensor:
        """(P, N)."""
        return torch.stack([one.inputs for one in self.sets])

    @property
    def targets(self) -> Tensor:
        """(P, N)."""
        return torch.stack([one.targets for one in self.sets])

    @property
    def looked_at(self) -> Tensor:
        """The points as a tensor."""
        return torch.tensor(self.points, dtype=DTYPE)

    def scaled(self, factor: float) -> Problem:
        """The same inputs with all training targets times a factor."""
        return replace(self, sets=tuple(replace(one, targets=factor * one.targets) for one in self.sets))

    def prior_draws(self, count: int, generator: torch.Generator) -> Tensor:
        """Parameters drawn from the prior, (count, D)."""
        return self.prior * torch.randn(count, self.dim, generator=generator, dtype=DTYPE)


@dataclass(frozen=True)
class LinearProblem(Problem):
    """y = φ(x)ᵀw + e.

    Attributes:
        centres: of bumps exp(−(x − c)²/(2 width²)); none gives powers of x.
        width: of the bumps.
        powers: of x, as 1 and x.
    """

    centres: tuple[float, ...] = ()
    width: float = 1.0
    powers: int = 1

    @property
    def dim(self) -> int:
        """Number of basis functions."""
        return len(self.centres) or self.powers

    def features(self, inputs: Tensor) -> Tensor:
        """φ(x), (…, D)."""
        if not self.centres:
            return torch.stack([inputs**power for power in range(self.powers)], dim=-1)
        centres = torch.tensor(self.centres, dtype=inputs.dtype)
        return torch.exp(-0.5 * ((inputs[..., None] - centres) / self.width).square())

    def function(self, parameters: Tensor, inputs: Tensor) -> Tensor:
        """Noise-free predictions (…, N)."""
        return (self.features(inputs) @ parameters[..., None])[..., 0]

    @property
    def models(self) -> Sequence[LinearGaussian]:
        """The closed forms of every data set."""
        return [
            LinearGaussian(self.features(one.inputs), one.targets, self.noise, self.prior)
            for one in self.sets
        ]


@dataclass(frozen=True)
class NetworkProblem(Problem):
    """A network 1-H-1 with tanh; all parameters have the prior N(0, prior²).

    f(x) = b₂ + Σ_h w_h tanh(gain·(u_h x + b_h)) / √H, so that the prior of f hardly depends on H.

    Attributes:
        hidden: H.
        gain: of the first layer.
    """

    hidden: int = 50
    gain: float = 2.0

    @property
    def dim(self) -> int:
        """3H + 1."""
        return 3 * self.hidden + 1

    def function(self, parameters: Tensor, inputs: Tensor) -> Tensor:
        """Noise-free predictions (…, N)."""
        return self.masked(parameters, inputs, None)

    def masked(self, parameters: Tensor, inputs: Tensor, factors: Tensor | None) -> Tensor:
        """Predictions with hidden units times factors (…, H), such as dropout masks over 1 − p."""
        slopes, offsets, weights = parameters[..., :-1].unflatten(-1, (3, self.hidden)).unbind(-2)
        if factors is not None:
            weights = weights * factors
        inside = inputs[..., None] * slopes[..., None, :] + offsets[..., None, :]
        sums = (torch.tanh(self.gain * inside) @ weights[..., None])[..., 0]
        return parameters[..., -1:] + sums / math.sqrt(self.hidden)


def generator_of(seed: int) -> torch.Generator:
    """A generator on the CPU."""
    return torch.Generator().manual_seed(seed)


@dataclass
class GaussianMean:
    """Benchmark A: n observations y ~ N(θ*, noise²), one parameter.

    Attributes:
        count: n.
        mean: θ*.
        noise: σ.
        prior: σ0.
        test: test points a data set.
    """

    count: int = 10
    mean: float = 1.0
    noise: float = 1.0
    prior: float = 1.0
    test: int = 1000

    def make(self, data_sets: int) -> LinearProblem:
        """Draw the data sets."""
        sets = []
        for number in range(data_sets):
            generator = generator_of(1000 + number)
            values = self.mean + self.noise * torch.randn(
                self.count + self.test, generator=generator, dtype=DTYPE
            )
            zeros = torch.zeros_like(values)
            sets.append(
                DataSet(
                    f"set {number + 1}", zeros[: self.count], values[: self.count], zeros[self.count :],
                    values[self.count :], torch.tensor([self.mean], dtype=DTYPE),
                )
            )  # fmt: skip
        return LinearProblem(self.noise, self.prior, (0.0,), 0.0, PROMINENCE, _some(sets))


@dataclass
class Line:
    """Benchmark B: a line through three points, x = 0, 1, 2; the first data set is the worked example y = (1, 2, 2).

    The others are drawn from the model itself, so that the exact posterior is calibrated.

    Attributes:
        noise: σ.
        prior: σ0.
        test: test points a data set, within 0 and 3.
    """

    noise: float = 0.5
    prior: float = 1.0
    test: int = 200

    def make(self, data_sets: int) -> LinearProblem:
        """Draw the data sets."""
        inputs, sets = torch.tensor([0.0, 1.0, 2.0], dtype=DTYPE), []
        for number in range(data_sets):
            generator = generator_of(2000 + number)
            weights = self.prior * torch.randn(2, generator=generator, dtype=DTYPE)
            places = 3 * torch.rand(self.test, generator=generator, dtype=DTYPE)
            first = number == 0
            truth = torch.tensor([1.0, 0.5], dtype=DTYPE) if first else weights
            whole = torch.cat([inputs, places])
            errors = self.noise * torch.randn(len(whole), generator=generator, dtype=DTYPE)
            values = truth[0] + truth[1] * whole + errors
            seen = torch.tensor([1.0, 2.0, 2.0], dtype=DTYPE) if first else values[:3]
            name = "worked example" if first else f"set {number + 1}"
            sets.append(DataSet(name, inputs, seen, places, values[3:], truth))
        return LinearProblem(
            self.noise, self.prior, (0.0, 1.0, 2.0, 3.0, 4.0, 5.0), 3.0, PROMINENCE, _some(sets), powers=2
        )


def two_clusters(data_sets: int, *, count: int, noise: float, test: int, seed: int) -> tuple[DataSet, ...]:
    """Data of benchmarks C and D: y = sin(2x) + e at inputs in [−3, −1] and [1, 3], test points where data are."""
    sets = []
    for number in range(data_sets):
        generator = generator_of(seed + number)
        places = 1 + 2 * torch.rand(count + test, generator=generator, dtype=DTYPE)
        sides = torch.where(torch.arange(count + test) % 2 == 0, -1.0, 1.0).to(DTYPE)
        inputs = places * sides
        errors = noise * torch.randn(count + test, generator=generator, dtype=DTYPE)
        values = torch.sin(2 * inputs) + errors
        sets.append(
            DataSet(f"set {number + 1}", inputs[:count], values[:count], inputs[count:], values[count:])
        )
    return _some(sets)


@dataclass
class Bumps:
    """Benchmark C: regression on bumps, with a gap between the data.

    Attributes:
        bumps: J, equally spaced on [−4, 4].
        width: ℓ of the bumps.
        count: training points.
        noise: σ.
        prior: σ0.
        test: test points a data set.
    """

    bumps: int = 20
    width: float = 0.6
    count: int = 30
    noise: float = 0.1
    prior: float = 1.0
    test: int = 1000

    def make(self, data_sets: int) -> LinearProblem:
        """Draw the data sets."""
        sets = two_clusters(data_sets, count=self.count, noise=self.noise, test=self.test, seed=3000)
        centres = tuple(torch.linspace(-4, 4, self.bumps, dtype=DTYPE).tolist())
        return LinearProblem(
            self.noise, self.prior, SIX, 0.0, PROMINENCE, sets, centres=centres, width=self.width
        )


@dataclass
class Network:
    """Benchmark D: a network 1-H-1 on the data of benchmark C.

    Attributes:
        hidden: H.
        gain: of the first layer.
        count: training points.
        noise: σ.
        prior: σ0.
        test: test points a data set.
    """

    hidden: int = 50
    gain: float = 2.0
    count: int = 30
    noise: float = 0.1
    prior: float = 1.0
    test: int = 1000

    def make(self, data_sets: int) -> NetworkProblem:
        """Draw the data sets."""
        sets = two_clusters(data_sets, count=self.count, noise=self.noise, test=self.test, seed=3000)
        return NetworkProblem(
            self.noise, self.prior, SIX, 0.0, OF_DRAWS, sets, hidden=self.hidden, gain=self.gain
        )


OF_DRAWS = (
    0.05  # prominence of a mode where densities are made of some thousand draws, whose error is 1 to 3 %
)
SIX = (-2.0, -1.0, -0.5, 0.0, 0.5, 2.0)  # where the predictive standard deviation is compared with the truth


def _some(sets: Sequence[DataSet]) -> tuple[DataSet, ...]:
    if not sets:
        raise ConfigError("data_sets is 0; a study needs one data set or more.")
    return tuple(sets)
