"""What a fixed image might have been: the distribution against which a similarity is contrasted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from medreg.errors import ConfigError, DataError

LARGEST_LOG_VARIANCE, LARGEST_FACTOR = 0.0, 1.0  # clamps of the released model/distributions.py


@dataclass(frozen=True)
class Contrast:
    """How q_f = N(F, diag σ_f² + u_f u_fᵀ) starts and moves; its mean is the fixed image and stays.

    Source: Grzech et al., CVPR 2022, and the released code.

    Attributes:
        std: first σ_f, intensity.
        factor: first u_f, intensity.
        learning_rate: of Adam.
    """

    std: float
    factor: float
    learning_rate: float

    def __post_init__(self) -> None:
        if not (0 < self.std <= 1 and abs(self.factor) <= 1 and self.learning_rate > 0):
            raise ConfigError(
                "task.contrast needs 0 < std ≤ 1, factor between −1 and 1 and learning_rate above 0, not "
                f"{self.std}, {self.factor} and {self.learning_rate}."
            )


class FixedImages:
    """Q_f of one fixed image, with its optimiser.

    Args:
        fixed: F (1, C, *S), intensities in [0, 1].
        contrast: how it starts and moves.
        kept: `tensors()` of an earlier visit, to go on from.

    Raises:
        DataError: intensities outside [0, 1].
    """

    def __init__(
        self, fixed: Tensor, *, contrast: Contrast, kept: Mapping[str, Tensor] | None = None
    ) -> None:
        if float(fixed.min()) < -1e-3 or float(fixed.max()) > 1 + 1e-3:
            raise DataError(
                "Similarity learning draws fixed images with intensities in [0, 1], but one reaches from "
                f"{float(fixed.min()):g} to {float(fixed.max()):g}; let data.preprocess.intensity bring them there."
            )
        self.fixed = fixed
        self.log_variance = torch.full_like(fixed, 2 * math.log(contrast.std)).requires_grad_()
        self.factor = torch.full_like(fixed, contrast.factor).requires_grad_()
        self.optimiser = torch.optim.Adam((self.log_variance, self.factor), lr=contrast.learning_rate)
        if kept is not None and kept["log_variance"].shape == fixed.shape:
            self._load(kept)

    def pair(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A mirrored pair of draws, (1, C, *S) each, clamped to [0, 1]; gradients reach σ_f and u_f."""
        with torch.no_grad():
            self.log_variance.clamp_(max=LARGEST_LOG_VARIANCE)
            self.factor.clamp_(-LARGEST_FACTOR, LARGEST_FACTOR)
        local = torch.randn(self.fixed.shape, generator=generator).to(self.fixed)
        shared = torch.randn((), generator=generator).to(self.fixed)
        offset = (0.5 * self.log_variance).exp() * local + shared * self.factor
        return (self.fixed + offset).clamp(0, 1), (self.fixed - offset).clamp(0, 1)

    def step(self) -> None:
        """Step down the gradient that a backward pass has left."""
        self.optimiser.step()
        self.optimiser.zero_grad()

    def tensors(self) -> dict[str, Tensor]:
        """What the next visit goes on from."""
        found = {"log_variance": self.log_variance.detach(), "factor": self.factor.detach()}
        for number, state in self.optimiser.state_dict()["state"].items():
            found |= {f"{number}.{name}": value for name, value in state.items()}
        return found

    @torch.no_grad()
    def _load(self, kept: Mapping[str, Tensor]) -> None:
        self.log_variance.copy_(kept["log_variance"])
        self.factor.copy_(kept["factor"])
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in kept.items():
            number, _, entry = name.partition(".")
            if entry:
                state.setdefault(int(number), {})[entry] = value.clone()
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": state})
