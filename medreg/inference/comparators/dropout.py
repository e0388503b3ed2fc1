"""MC dropout of linear models in closed form: what is fitted, and the finite set of weights that it stands for.

The weights are m ⊙ z, z_j ~ Bernoulli(1 − p), divided by 1 − p where the scaling is `inverted`, as every framework
does. Training minimises E_z[−ln p(y | m ⊙ z)] + decay ‖m‖²; at test time z is drawn anew. As a distribution of weights
that is a mixture of at most 2^D points, whatever the data say.

Source: Gal and Ghahramani, ICML 2016; Le Folgoc et al., arXiv 2110.04286, for the analysis; the formulas are ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from medreg.errors import ConfigError
from medreg.inference.comparators.linear_gaussian import LinearGaussian
from medreg.inference.comparators.predictive import Predictive

LARGEST = 16  # weights or units of which all masks are enumerated: 65 536


@dataclass(frozen=True)
class MaskedWeights:
    """The distribution of m ⊙ z.

    Attributes:
        weights: m, (D,).
        probability: p, of being dropped, within [0, 1).
        inverted: whether what is kept is divided by 1 − p.
    """

    weights: Tensor
    probability: float
    inverted: bool = True

    def __post_init__(self) -> None:
        check_probability(self.probability)

    @property
    def enumerable(self) -> bool:
        """Whether all masks can be looked at."""
        return len(self.weights) <= LARGEST

    @property
    def kept(self) -> Tensor:
        """Weights where they are kept, (D,): m, or m/(1 − p)."""
        return self.weights / (1 - self.probability) if self.inverted else self.weights

    @property
    def mean(self) -> Tensor:
        """Mean of the weights, (D,)."""
        return (1 - self.probability) * self.kept

    @property
    def variance(self) -> Tensor:
        """Variance of each weight, (D,); they are independent."""
        return self.probability * (1 - self.probability) * self.kept.square()

    def draws(self, count: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Return weights (S, D) and their probabilities (S,): all 2^D for D ≤ 16, else `count` draws."""
        if self.enumerable:
            masks, shares = all_masks(len(self.weights), self.probability, dtype=self.weights.dtype)
        else:
            masks = draw_masks(
                count, len(self.weights), self.probability, generator, dtype=self.weights.dtype
            )
            shares = masks.new_full((count,), 1 / count)
        return masks * self.kept, shares

    def predict(
        self, design: Tensor, noise: float, *, count: int = 2000, generator: torch.Generator | None = None
    ) -> Predictive:
        """The predictive distribution at the rows of a design (N, D), enumerated or drawn as `draws`."""
        values, shares = self.draws(count, generator)
        return Predictive(values @ design.T, noise, weights=shares)

    def epistemic_variance(self, design: Tensor) -> Tensor:
        """Variance of the noise-free prediction at the rows of a design (N, D), exactly, (N,)."""
        return design.square() @ self.variance

    def density(self, features: Tensor, noise: float, grid: Tensor) -> Tensor:
        """Predictive density of y at features φ (D,) on a grid (G,), over all 2^D masks at once and exactly.

        The prediction is a sum of independent two-point variables, so its characteristic function is a product; the
        trapezoidal rule inverts it to rounding, since the noise makes it decay as exp(−noise² t²/2).
        """
        steps = features * self.kept
        reach = float(steps.abs().sum()) + float(grid.abs().max()) + 12 * noise
        last = math.sqrt(2 * 40) / noise  # where the noise has damped the transform to e^−40
        t = torch.arange(0, last, math.pi / reach, dtype=features.dtype)
        turned = torch.polar(torch.ones_like(t)[:, None].expand(-1, len(steps)), t[:, None] * steps)
        transform = ((1 - self.probability) * turned + self.probability).prod(1)
        transform = transform * torch.exp(-0.5 * (noise * t).square())
        transform[0] = 0.5  # half weight of the first node
        kernel = torch.polar(torch.ones(len(grid), len(t), dtype=t.dtype), -grid[:, None] * t)
        return (kernel @ transform).real * (1 / reach)

    def mass(self, truth: Tensor, radius: float) -> float:
        """Probability of the ball of a radius around a point (D,); exact, for D ≤ 16.

        Raises:
            ConfigError: there are too many masks to look at each.
        """
        if not self.enumerable:
            raise ConfigError(f"2^{len(self.weights)} masks are too many to enumerate; at most 2^{LARGEST}.")
        values, shares = self.draws(0)
        return shares[(values - truth).norm(dim=1) < radius].sum().item()


def fit_linear(
    model: LinearGaussian, probability: float, *, decay: float | None = None, inverted: bool = True
) -> MaskedWeights:
    """The minimiser m of E_z‖y − Φ(m ⊙ z)‖²/(2σ²) + decay ‖m‖², with all masks in the mean.

    Args:
        model: design, targets, noise and prior.
        probability: p.
        decay: None matches the prior: 1/(2σ0²), times 1 − p without inverted scaling.
        inverted: scaling of what is kept.

    Raises:
        ConfigError: p outside [0, 1), or a negative decay.
    """
    check_probability(probability)
    keep = 1 - probability
    matched = (1.0 if inverted else keep) / (2 * model.prior**2)
    chosen = matched if decay is None else decay
    if not chosen >= 0:
        raise ConfigError(f"decay is {chosen:g}; it must not be negative.")
    gram = model.design.T @ model.design
    first, second = (1.0, probability / keep) if inverted else (keep, probability * keep)
    normal = first**2 * gram + second * torch.diag(gram.diagonal())
    normal = normal + 2 * model.noise**2 * chosen * torch.eye(model.dim, dtype=gram.dtype)
    weights = torch.linalg.solve(normal, first * model.design.T @ model.targets)
    return MaskedWeights(weights, probability, inverted)


def expected_loss(
    model: LinearGaussian, weights: Tensor, probability: float, *, decay: float, inverted: bool = True
) -> Tensor:
    """E_z‖y − Φ(m ⊙ z)‖²/(2σ²) + decay ‖m‖² by enumeration of all masks, differentiable in m (D,)."""
    masks, shares = all_masks(model.dim, probability, dtype=weights.dtype)
    kept = weights / (1 - probability) if inverted else weights
    residual = model.targets - (masks * kept) @ model.design.T
    return shares @ residual.square().sum(1) / (2 * model.noise**2) + decay * weights.square().sum()


def log_density_loss(effect: float, probability: float) -> float:
    """What dropout loses in expected log predictive density as n → ∞, in nats, for one mean without inverted scaling.

    y ~ N(θ*, σ²) is predicted by (1 − p) N(θ*, σ²) + p N(0, σ²).

    Args:
        effect: θ*/σ.
        probability: p.
    """
    check_probability(probability)
    grid = torch.linspace(-12, 12, 20_001, dtype=torch.float64)  # (y − θ*)/σ
    density = torch.exp(-0.5 * grid.square()) / math.sqrt(2 * math.pi)
    ratio = torch.log((1 - probability) + probability * torch.exp(-effect * grid - 0.5 * effect**2))
    return -torch.trapezoid(density * ratio, grid).item()


def all_masks(size: int, probability: float, *, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Return all masks (2^size, size) of 0 and 1 and their probabilities (2^size,).

    Raises:
        ConfigError: more than 16 places.
    """
    if size > LARGEST:
        raise ConfigError(
            f"2^{size} masks are too many to enumerate; at most 2^{LARGEST}. Draw them instead."
        )
    check_probability(probability)
    bits = torch.arange(2**size)[:, None] >> torch.arange(size)
    masks = (bits & 1).to(dtype)
    kept = masks.sum(1)
    return masks, (1 - probability) ** kept * probability ** (size - kept)


def draw_masks(
    count: int,
    size: int,
    probability: float,
    generator: torch.Generator | None = None,
    *,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """Return `count` independent masks (count, size).

    Raises:
        ConfigError: no draw, or p outside [0, 1).
    """
    check_probability(probability)
    if count < 1:
        raise ConfigError(f"{count} draws of a mask are none; take one or more.")
    return (torch.rand(count, size, generator=generator, dtype=dtype) >= probability).to(dtype)


def check_probability(probability: float) -> None:
    """Refuse a probability of being dropped outside [0, 1).

    Raises:
        ConfigError: naming it.
    """
    if not 0 <= probability < 1:
        raise ConfigError(f"The dropout probability is {probability:g}; it lies within [0, 1).")
