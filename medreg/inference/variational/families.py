"""Families with parameters: modules whose `distribution()` is a distribution that gradients reach.

The parameters of several tensors lie in one flat vector. Every tensor (segment) has its own weight-normalised columns,
while the noise x is shared by all of them, which is what couples layers.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from medreg.errors import ConfigError, require_choice
from medreg.inference.variational.distribution import Distribution
from medreg.inference.variational.full import FullNormal
from medreg.inference.variational.mixture import NormalMixture
from medreg.inference.variational.normal import LowRankNormal
from medreg.inference.variational.segments import root_mean_squares, spread, sums

Parametrisation = Literal["normalised", "direct"]
# A fresh initial value of the vector: shape (*B) → (*B, D).
Fresh = Callable[[tuple[int, ...]], Tensor]
SOFTENING = 1e-3  # ε of the column norms √(‖U‖² + ε); Le Folgoc et al., released engine
LEVEL = 0.1  # of σ and of the columns, relative to the RMS of a fresh tensor; the same
LOG_STD_LIMITS = (-12.0, 4.0)
LARGEST_FULL = 1000  # entries whose full covariance is still factorised at every step


class Family(nn.Module, ABC):
    """Parameters of a variational distribution over vectors (*B, D)."""

    rank: int

    def __init__(self, dim: int, batch: Sequence[int] = ()) -> None:
        super().__init__()
        if dim < 1:
            raise ConfigError(f"dim is {dim}; a density needs at least one parameter.")
        self.dim, self.batch = dim, tuple(batch)

    @abstractmethod
    def distribution(self) -> Distribution:
        """The distribution at the present parameters."""

    @abstractmethod
    def initialise(self, fresh: Fresh, *, mean: Tensor | None = None, level: float = LEVEL) -> None:
        """Set starting values: the mean given (zeros without), the rest small beside fresh draws.

        Args:
            fresh: makes independent initial vectors.
            mean: broadcasts to (*B, D); to (*B, K, D) for a mixture.
            level: σ and column lengths over the RMS of fresh tensors.
        """

    @abstractmethod
    def project(self) -> None:
        """Keep the parameters in their limits; called after each optimiser step."""


class Structured(Family):
    """The normal of rank r: μ, ℓ, and V either by weight-normalised columns or directly.

    normalised: row j of segment t of V is U e^ρ / √(‖U‖² + 10⁻³), so e^ρ is its length within the segment.
    direct: V itself is the parameter.

    Args:
        dim: D.
        rank: r, 0 to D.
        segments: lengths of the tensors that the vector is made of; one by default.
        batch: shape of independent problems.
        parametrisation: normalised or direct.
        log_std_limits: ℓ is kept between them.
        dtype, device: of the parameters.

    Raises:
        ConfigError: a rank that does not fit, or segments that do not add up.
    """

    def __init__(
        self,
        dim: int,
        rank: int,
        *,
        segments: Sequence[int] | None = None,
        batch: Sequence[int] = (),
        parametrisation: str = "normalised",
        log_std_limits: tuple[float, float] = LOG_STD_LIMITS,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(dim, batch)
        require_choice("parametrisation", parametrisation, get_args(Parametrisation))
        if not 0 <= rank <= dim:
            raise ConfigError(f"rank is {rank}; with {dim} parameters it is between 0 and {dim}.")
        self.rank, self.segments = rank, list(segments or [dim])
        if sum(self.segments) != dim:
            raise ConfigError(f"segments {self.segments} do not add up to the {dim} parameters.")
        self.normalised = parametrisation == "normalised" and rank > 0
        self.limits = log_std_limits

        def zeros(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.zeros(*self.batch, *shape, dtype=dtype, device=device))

        self.location, self.log_std = zeros(dim), zeros(dim)
        self.directions = zeros(rank, dim) if rank else None
        self.log_lengths = zeros(rank, len(self.segments)) if self.normalised else None

    def factor(self) -> Tensor:
        """V, (*B, r, D)."""
        if self.directions is None:
            return self.location.new_zeros(*self.batch, 0, self.dim)
        if self.log_lengths is None:
            return self.directions
        parts = self.directions.split(self.segments, dim=-1)
        squares = torch.stack([part.square().sum(-1) for part in parts], dim=-1)
        scales = torch.exp(self.log_lengths) * torch.rsqrt(squares + SOFTENING)
        scaled = [part * scale.unsqueeze(-1) for part, scale in zip(parts, scales.unbind(-1), strict=True)]
        return scaled[0] if len(scaled) == 1 else torch.cat(scaled, dim=-1)

    def distribution(self) -> LowRankNormal:
        """The normal at the present parameters."""
        return LowRankNormal(self.location, self.log_std, self.factor())

    @torch.no_grad()
    def start(self, mean: Tensor | float, std: Tensor | float, factor: Tensor | float = 0.0) -> None:
        """Set explicit starting values; each broadcasts to (*B, D), the factor to (*B, r, D)."""
        like = self.location
        self.location.copy_(torch.as_tensor(mean, dtype=like.dtype, device=like.device).expand_as(like))
        std = torch.as_tensor(std, dtype=like.dtype, device=like.device)
        self.log_std.copy_(std.log().expand_as(like))
        if self.directions is not None:
            rows = torch.as_tensor(factor, dtype=like.dtype, device=like.device)
            self._set_rows(rows.expand_as(self.directions))
        self.project()

    def _set_rows(self, rows: Tensor) -> None:
        """Make V equal to the rows, (*B, r, D)."""
        assert self.directions is not None
        self.directions.copy_(rows)
        if self.log_lengths is not None:
            squares = sums(rows.square(), self.segments)
            self.log_lengths.copy_(0.5 * (squares + SOFTENING).log())

    @torch.no_grad()
    def initialise(
        self, fresh: Fresh, *, mean: Tensor | None = None, level: float = LEVEL, length: float | None = None
    ) -> None:
        """See `Family.initialise`; `length` of all columns replaces the one that follows from `level`."""
        scales = root_mean_squares(fresh(self.batch), self.segments, level)
        self.location.copy_(
            torch.zeros_like(self.location) if mean is None else mean.expand_as(self.location)
        )
        self.log_std.copy_(spread(scales.log(), self.segments))
        if self.directions is not None:
            rows = fresh((*self.batch, self.rank))
            lengths = root_mean_squares(rows, self.segments, level)
            lengths = lengths if length is None else torch.full_like(lengths, length)
            if self.log_lengths is not None:
                self.directions.copy_(rows)
                self.log_lengths.copy_(lengths.log())
            else:
                norms = (sums(rows.square(), self.segments) + SOFTENING).sqrt()
                self.directions.copy_(rows * spread(lengths / norms, self.segments))
        self.project()

    @torch.no_grad()
    def project(self) -> None:
        """Clamp ℓ, here and not where it is used: beyond the limit its gradient would be lost for good."""
        self.log_std.clamp_(*self.limits)


class Diagonal(Structured):
    """The mean-field normal: rank 0."""

    def __init__(
        self,
        dim: int,
        *,
        segments: Sequence[int] | None = None,
        batch: Sequence[int] = (),
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(dim, 0, segments=segments, batch=batch, dtype=dtype, device=device)


class Mixture(Family):
    """K structured normals and the logits of their weights.

    Args:
        dim: D.
        rank: of every component.
        components: K, at least 1.
        segments, batch, parametrisation, dtype, device: as of `Structured`.

    Raises:
        ConfigError: no component, or see `Structured`.
    """

    def __init__(
        self,
        dim: int,
        rank: int,
        components: int,
        *,
        segments: Sequence[int] | None = None,
        batch: Sequence[int] = (),
        parametrisation: str = "normalised",
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(dim, batch)
        if components < 1:
            raise ConfigError(f"components is {components}; a mixture needs at least one.")
        self.rank, self.components = rank, components
        self.normals = Structured(
            dim, rank, segments=segments, batch=(*self.batch, components), parametrisation=parametrisation,
            dtype=dtype, device=device,
        )  # fmt: skip
        self.logits = nn.Parameter(
            torch.full((*self.batch, components), -math.log(components), dtype=dtype, device=device)
        )

    def distribution(self) -> NormalMixture:
        """The mixture at the present parameters."""
        return NormalMixture(self.normals.distribution(), self.logits)

    def initialise(self, fresh: Fresh, *, mean: Tensor | None = None, level: float = LEVEL) -> None:
        """Components start at different fresh vectors: equal ones with common noise would stay equal."""
        start = fresh((*self.batch, self.components)) if mean is None else mean
        self.normals.initialise(fresh, mean=start, level=level, length=LEVEL)

    def project(self) -> None:
        """Clamp ℓ of every component."""
        self.normals.project()


class Full(Family):
    """The normal with any covariance, by its Cholesky factor L = M diag(e^d) with ones on the diagonal of M.

    A step of M is then relative to the width of its column; a step of L itself is not, and too long for narrow ones.

    Raises:
        ConfigError: more entries than can be factorised at every step.
    """

    def __init__(
        self,
        dim: int,
        *,
        batch: Sequence[int] = (),
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(dim, batch)
        if dim > LARGEST_FULL:
            raise ConfigError(
                f"family=full with {dim} parameters needs a {dim} × {dim} matrix at every step; at most {LARGEST_FULL} "
                "are allowed. Take family=structured with a rank."
            )
        self.rank = 0
        self.location = nn.Parameter(torch.zeros(*self.batch, dim, dtype=dtype, device=device))
        self.log_diagonal = nn.Parameter(torch.zeros(*self.batch, dim, dtype=dtype, device=device))
        self.below = nn.Parameter(torch.zeros(*self.batch, dim, dim, dtype=dtype, device=device))

    def distribution(self) -> FullNormal:
        """The normal at the present parameters."""
        widths = self.log_diagonal.exp()
        return FullNormal(
            self.location, self.below.tril(-1) * widths.unsqueeze(-2) + torch.diag_embed(widths)
        )

    @torch.no_grad()
    def start(self, mean: Tensor, lower: Tensor) -> None:
        """Set explicit starting values, broadcast to (*B, D) and (*B, D, D): the mean and a Cholesky factor."""
        widths = lower.diagonal(dim1=-2, dim2=-1)
        self.location.copy_(mean.expand_as(self.location))
        self.log_diagonal.copy_(widths.log().expand_as(self.log_diagonal))
        self.below.copy_((lower / widths.unsqueeze(-2)).expand_as(self.below))
        self.project()

    @torch.no_grad()
    def initialise(self, fresh: Fresh, *, mean: Tensor | None = None, level: float = LEVEL) -> None:
        """A diagonal covariance at first."""
        scales = root_mean_squares(fresh(self.batch), [self.dim], level)
        self.location.copy_(
            torch.zeros_like(self.location) if mean is None else mean.expand_as(self.location)
        )
        self.log_diagonal.copy_(scales.log().expand_as(self.log_diagonal))
        self.below.zero_()
        self.project()

    @torch.no_grad()
    def project(self) -> None:
        """Clamp the logarithm of the diagonal."""
        self.log_diagonal.clamp_(*LOG_STD_LIMITS)
