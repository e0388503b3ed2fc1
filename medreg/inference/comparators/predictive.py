"""One predictive distribution for every method of regression: at each point a mixture of normals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from medreg.errors import ConfigError

LEVELS = tuple(level / 20 for level in range(1, 20))  # of central intervals, 0.05 to 0.95
CHUNK = 4_000_000  # numbers at a time
PROMINENCE = 0.01  # of the highest peak; smaller bumps are no modes


@dataclass(frozen=True)
class Predictive:
    """The distribution of y at N points: Σ_s w_s N(f_s, spread_s² + noise²).

    A method that draws gives draws f_s with spread 0; one whose predictive is normal gives a single component. So the
    densities of both are exact mixtures, and nothing depends on a kernel width.

    Attributes:
        means: (S, N), what the components predict.
        noise: standard deviation of the observation noise, in the unit of y.
        spread: standard deviation of the noise-free prediction within a component, broadcast to (S, N).
        weights: (S,), sum 1; None means 1/S each.
    """

    means: Tensor
    noise: float
    spread: Tensor | None = None
    weights: Tensor | None = None

    def __post_init__(self) -> None:
        if self.means.ndim != 2 or len(self.means) == 0:
            raise ConfigError(f"A predictive distribution needs draws (S, N), not {tuple(self.means.shape)}.")
        if not self.noise > 0:
            raise ConfigError(
                f"noise is {self.noise:g}; the standard deviation of the noise must be positive."
            )

    @property
    def shares(self) -> Tensor:
        """Weights of the components, (S,)."""
        count = len(self.means)
        return self.means.new_full((count,), 1 / count) if self.weights is None else self.weights

    @property
    def mean(self) -> Tensor:
        """Predictive mean, (N,)."""
        return self.shares @ self.means

    @property
    def epistemic_variance(self) -> Tensor:
        """Variance of the noise-free prediction, (N,)."""
        between = self.shares @ (self.means - self.mean).square()
        return between if self.spread is None else between + self.shares @ self._spread().square()

    @property
    def variance(self) -> Tensor:
        """Variance of y, (N,)."""
        return self.epistemic_variance + self.noise**2

    def log_density(self, targets: Tensor) -> Tensor:
        """Ln p(y) at every point by log-sum-exp over the components, (N,).

        Args:
            targets: (N,).
        """
        return torch.cat([self._log_density(targets, part) for part in self._parts()])

    def cumulative(self, targets: Tensor) -> Tensor:
        """P(Y ≤ y) at every point, (N,): the probability integral transform."""
        return torch.cat([self._cumulative(targets, part) for part in self._parts()])

    def coverage(self, targets: Tensor, levels: tuple[float, ...] = LEVELS) -> Tensor:
        """Share of the targets within the central interval of each level, noise included, (L,)."""
        depth = (
            2 * self.cumulative(targets) - 1
        ).abs()  # y lies in the central interval of this level and wider ones
        return torch.stack([(depth <= level).double().mean() for level in levels])

    def interval(self, level: float, *, steps: int = 60) -> tuple[Tensor, Tensor]:
        """Ends of the central interval of a level at every point, noise included, by bisection.

        Args:
            level: probability inside, within (0, 1).
            steps: halvings.
        """
        return self._quantile((1 - level) / 2, steps), self._quantile((1 + level) / 2, steps)

    def at(self, point: int) -> Predictive:
        """The distribution at one point."""
        spread = None if self.spread is None else self._spread()[:, point : point + 1]
        return Predictive(self.means[:, point : point + 1], self.noise, spread, self.weights)

    def density(self, grid: Tensor, point: int) -> Tensor:
        """Density of y at one point, on a grid (G,)."""
        one, scale = (
            self.at(point),
            self._scale()[:, point] if self.spread is not None else self._scale()[:, 0],
        )
        found = torch.zeros_like(grid)
        for rows in torch.arange(len(one.means)).split(max(1, CHUNK // len(grid))):
            sd = scale[rows, None] if len(scale) > 1 else scale[:, None]
            z = (grid - one.means[rows]) / sd
            found += (self.shares[rows, None] * torch.exp(-0.5 * z.square()) / sd).sum(0)
        return found / math.sqrt(2 * math.pi)

    def modes(self, point: int, *, prominence: float = PROMINENCE) -> int:
        """Number of modes at one point: maxima more prominent than a share of the highest peak."""
        return count_modes(self.density(self.grid(point), point), prominence=prominence)

    def grid(self, point: int) -> Tensor:
        """Values of y that hold the density at one point, 25 a standard deviation of the noise, (G,)."""
        one = self.at(point)
        reach = 5 * float(one._scale().max())
        low, high = float(one.means.min()) - reach, float(one.means.max()) + reach
        count = min(20_001, int((high - low) / (self.noise / 25)) + 2)
        return torch.linspace(low, high, count, dtype=self.means.dtype)

    def _spread(self) -> Tensor:
        assert self.spread is not None
        return self.spread.expand_as(self.means)

    def _scale(self) -> Tensor:
        """Standard deviation of each component, noise included, (S or 1, N or 1)."""
        if self.spread is None:
            return self.means.new_full((1, 1), self.noise)
        return (self._spread().square() + self.noise**2).sqrt()

    def _parts(self) -> list[slice]:
        points, count = self.means.shape[1], max(1, CHUNK // len(self.means))
        return [slice(start, start + count) for start in range(0, points, count)]

    def _standard(self, targets: Tensor, part: slice) -> tuple[Tensor, Tensor]:
        scale = self._scale()
        scale = scale if scale.shape[1] == 1 else scale[:, part]
        return (targets[part] - self.means[:, part]) / scale, scale

    def _log_density(self, targets: Tensor, part: slice) -> Tensor:
        z, scale = self._standard(targets, part)
        logs = self.shares.log()[:, None] - 0.5 * z.square() - scale.log()
        return torch.logsumexp(logs, dim=0) - 0.5 * math.log(2 * math.pi)

    def _cumulative(self, targets: Tensor, part: slice) -> Tensor:
        z, _ = self._standard(targets, part)
        return self.shares @ torch.special.ndtr(z)

    def _quantile(self, probability: float, steps: int) -> Tensor:
        reach = 10 * float(self._scale().max())
        low, high = self.means.amin(0) - reach, self.means.amax(0) + reach
        for _ in range(steps):
            middle = (low + high) / 2
            below = self.cumulative(middle) < probability
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2


def count_modes(density: Tensor, *, prominence: float = PROMINENCE) -> int:
    """Number of local maxima of a density on a fine grid whose prominence exceeds a share of the highest.

    Args:
        density: (G,).
        prominence: share of the highest peak, within (0, 1).
    """
    from scipy.signal import find_peaks

    values = torch.nn.functional.pad(density.detach(), (1, 1)).numpy()
    return len(find_peaks(values, prominence=prominence * values.max())[0])


def scores(predictive: Predictive, targets: Tensor) -> Mapping[str, float]:
    """Score predictions of targets that were not seen.

    Args:
        predictive: at N points.
        targets: (N,).

    Returns:
        `log_density` (mean, nats), `rmse` of the predictive mean, `calibration_error` (mean |coverage − level| over
        central intervals of levels 0.05 to 0.95), `sharpness` (mean predictive standard deviation).
    """
    levels = torch.tensor(LEVELS, dtype=torch.float64)
    return {
        "log_density": predictive.log_density(targets).mean().item(),
        "rmse": (predictive.mean - targets).square().mean().sqrt().item(),
        "calibration_error": (predictive.coverage(targets) - levels).abs().mean().item(),
        "sharpness": predictive.variance.sqrt().mean().item(),
    }
