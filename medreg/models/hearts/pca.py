"""Principal components of label maps over the cycle: the linear model of hearts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medreg.errors import CompositionError, ConfigError
from medreg.models.hearts.conditions import Conditions, Covariates
from medreg.models.hearts.fitted import FittedModel
from medreg.models.hearts.packed import PackedShapes

_AT_ONCE = 16  # hearts whose first frames are looked at together
_LEAST_VARIANCE = 1e-9  # of the noise, where the components leave nothing


class HeartPCA(FittedModel):
    """Gaussian model of the sequences as ones and zeros, x = m + P b with b ~ N(0, 1) and noise of variance σ².

    P holds the leading principal components, each times the standard deviation of its scores. A sequence is completed
    from its first frame by b = argmin ‖x₀ − m₀ − P₀ b‖² + σ²‖b‖². Around that, completions are drawn with the
    covariance of what it misses of the training hearts' scores: the posterior of the model, σ²(P₀ᵀP₀ + σ²)⁻¹, is far
    too narrow, as neighbouring voxels err together (ours). A new heart has scores that are drawn around what a linear
    regression on the conditions says of them. Labels are the largest of the values.

    Args:
        conditions: as in `FittedModel`, like the rest.
        components: how many; more hearts than that are needed.
        noise: σ², variance of a value around the model; None: the mean of what the components leave, as in
            probabilistic PCA (Tipping and Bishop, 1999).
        conditional: whether new hearts follow the conditions.
        half: whether the components are kept in half precision.

    Raises:
        ConfigError: fewer than one component, or a noise that is not above 0.
    """

    mean: Tensor
    modes: Tensor
    variances: Tensor
    variance: Tensor
    regression: Tensor
    residual: Tensor
    missed: Tensor
    normal: Tensor

    def __init__(
        self, conditions: Conditions, *, frames: int, classes: int, size: Sequence[int],
        components: int, noise: float | None, conditional: bool, half: bool,
    ) -> None:  # fmt: skip
        super().__init__(conditions, frames=frames, classes=classes, size=size)
        if components < 1 or (noise is not None and noise <= 0):
            raise ConfigError(
                f"model.components={components} must be 1 or more and model.noise={noise} above 0, or null."
            )
        self.components, self.noise, self.conditional = components, noise, conditional
        parts = (classes - 1, *self.size)  # that of the background is what is left
        kept = torch.float16 if half else torch.float32
        self.register_buffer("mean", torch.zeros(frames, *parts))
        self.register_buffer("modes", torch.zeros(components, frames, *parts, dtype=kept))
        self.register_buffer("variances", torch.zeros(components, dtype=torch.float64))
        self.register_buffer("variance", torch.zeros((), dtype=torch.float64))
        self.register_buffer("normal", torch.zeros(components, components, dtype=torch.float64))
        self.register_buffer("regression", torch.zeros(1 + self._told, components, dtype=torch.float64))
        self.register_buffer("residual", torch.zeros(components, components, dtype=torch.float64))
        self.register_buffer("missed", torch.zeros(components, components, dtype=torch.float64))
        self.begin()

    @property
    def _told(self) -> int:
        return self.conditions.size if self.conditional else 0

    def begin(self) -> None:
        """Forget the hearts that were gathered."""
        self._hearts = PackedShapes(self.classes)
        self._vectors: list[Tensor] = []

    def observe(self, shape: Tensor, covariates: Covariates) -> None:
        """Keep the hearts, packed, and their conditions."""
        self._hearts.add(shape)
        self._vectors.append(self.conditions(covariates, len(shape)).cpu().double())

    def settle(self) -> None:
        """Find the components.

        Raises:
            CompositionError: not more hearts than components.
        """
        count = len(self._hearts)
        if count <= self.components:
            raise CompositionError(
                f"model.components={self.components} needs more training hearts than that, and there are {count}; "
                "set fewer components."
            )
        gram = torch.from_numpy(self._hearts.agreement()).double()
        centred = gram - gram.mean(0) - gram.mean(1, keepdim=True) + gram.mean()
        squares, vectors = torch.linalg.eigh(centred)
        leading = slice(-1, -self.components - 1, -1)
        squares, vectors = _flipped(squares, leading).clamp_min(0), _flipped(vectors, leading)
        vectors = vectors - vectors.mean(0)  # where nothing is left that varies, they may have a mean
        scores = vectors * (count - 1) ** 0.5  # of unit variance
        self.variances.copy_(squares / (count - 1))
        self._describe(scores / (count - 1))
        left = centred.trace() / (count - 1) - self.variances.sum()
        values = self.mean.numel() // (self.classes - 1) * self.classes
        noise = max(float(left) / (values - self.components), _LEAST_VARIANCE)
        self.variance.fill_(noise if self.noise is None else self.noise)
        self._regress(scores)
        firsts = self._hearts.frame(0).to(self.modes.device).split(_AT_ONCE)
        found = torch.cat([self.scores_of(first).cpu() for first in firsts])
        self.missed.copy_(_root(scores - found, count))
        self.begin()
        super().settle()

    def _describe(self, weights: Tensor) -> None:
        """Fill mean and components, which are sums of the hearts with weights (N, K)."""
        combined = torch.cat([torch.full_like(weights[:, :1], 1 / len(weights)), weights], 1).float().T
        for number in range(self.frames):
            labels = self._hearts.frame(number)
            for place in range(1, self.classes):
                sums = (combined @ (labels == place).flatten(1).float()).view(-1, *self.size)
                self.mean[number, place - 1] = sums[0]
                self.modes[:, number, place - 1] = sums[1:].to(self.modes)
        first = self.modes[:, 0].flatten(2).double()
        total = first.sum(1)  # minus that of the background
        self.normal.copy_(torch.einsum("kcv,lcv->kl", first, first) + total @ total.T)

    def _regress(self, scores: Tensor) -> None:
        """Fit the scores (N, K) linearly to the conditions, and what is left by a Gaussian."""
        vectors = torch.cat(self._vectors)[:, : self._told]
        design = torch.cat([torch.ones_like(scores[:, :1]), vectors], 1)
        self.regression.copy_(torch.linalg.pinv(design) @ scores)
        left = scores - design @ self.regression.to(scores)
        self.residual.copy_(_root(left, max(1, len(scores) - design.shape[1])))

    def scores_of(self, first: Tensor) -> Tensor:
        """Return the most probable scores, (B, K), of hearts whose first frame is known, (B, *S)."""
        modes = self.modes[:, 0].flatten(1).float()
        places = torch.arange(1, self.classes, device=first.device).view(-1, *[1] * len(self.size))
        apart = (first.unsqueeze(1) == places).float() - self.mean[0]
        apart = apart + apart.sum(1, keepdim=True)  # the share of the background: P_0 = −Σ P_c
        right = (apart.flatten(1) @ modes.T).double()
        ridge = self.variance * torch.eye(self.components, device=self.normal.device)
        return torch.linalg.solve(self.normal + ridge, right.T).T

    def decode(self, scores: Tensor) -> Tensor:
        """Return label maps, (B, T, *S) uint8, of scores (B, K)."""
        found = []
        for number in range(self.frames):
            modes = self.modes[:, number].flatten(1).float()
            values = (scores.float() @ modes).view(-1, self.classes - 1, *self.size) + self.mean[number]
            largest, place = values.max(1)
            found.append(torch.where(largest > 1 - values.sum(1), place + 1, 0).to(torch.uint8))
        return torch.stack(found, 1)

    def complete(
        self, first: Tensor, covariates: Covariates, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Complete with the most probable scores, or with some drawn around them."""
        self.check_settled()
        scores = self.scores_of(first)
        if generator is not None:
            scores = scores + _normal(scores, generator) @ self.missed.T
        return self.decode(scores)

    def generate(self, covariates: Covariates, *, generator: torch.Generator) -> Tensor:
        """Draw scores around those of the conditions."""
        self.check_settled()
        count = len(next(iter(covariates.values()))) if covariates else 1
        told = self.conditions(covariates, count)[:, : self._told].to(self.regression)
        mean = self.regression[0] + told @ self.regression[1:]
        return self.decode(mean + _normal(mean, generator) @ self.residual.T)


def _flipped(values: Tensor, leading: slice) -> Tensor:
    return torch.from_numpy(values.numpy()[..., leading].copy())


def _root(values: Tensor, freedom: int) -> Tensor:
    """R with R Rᵀ = values ᵀ values / freedom, (K, K), of values (N, K)."""
    squares, vectors = torch.linalg.eigh(values.T @ values / freedom)
    return vectors * squares.clamp_min(0).sqrt()


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal numbers in the shape of another tensor."""
    noise = torch.randn(like.shape, generator=generator, dtype=like.dtype, device=generator.device)
    return noise.to(like.device)
