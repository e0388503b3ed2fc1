"""Members whose parameters are bounded in their L2 norm: a direction, and how far it may be gone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from medreg.augmentation.member import Member, unit, within_ball
from medreg.errors import require_choice, require_number

Form = Literal["ball", "sphere"]


@dataclass(frozen=True, kw_only=True)
class BoundedNorm(Member):
    """φ (N, …) with ‖φ‖₂ ≤ ε for each sample, or its direction.

    Attributes:
        epsilon: ε, the largest norm.
        form: "ball": φ itself is bounded, ‖φ‖₂ ≤ ε (code of the paper). "sphere": φ is a direction, ‖φ‖₂ = 1, which is
            taken ε times (later release); every projection makes it as strong as it may be.
        xi: norm at which a power iteration takes its gradient, in the unit of ε.
    """

    epsilon: float
    form: Form
    xi: float

    def __post_init__(self) -> None:
        name = type(self).__name__.lower()
        require_number(f"{name}.epsilon", self.epsilon, least=0)
        require_number(f"{name}.xi", self.xi, above=0)
        require_choice(f"{name}.form", self.form, ("ball", "sphere"))

    def project(self, parameters: Tensor) -> Tensor:
        """Onto the ball or the sphere; zeros stay zeros."""
        return within_ball(parameters, self.epsilon) if self.form == "ball" else unit(parameters)

    def nearby(self, parameters: Tensor) -> Tensor:
        """φ of length ξ."""
        length = self.xi if self.form == "ball" else self.xi / (self.epsilon or 1.0)
        return length * unit(parameters)

    def probe(self, parameters: Tensor, gradient: Tensor) -> Tensor:
        """The direction of the gradient at length ε (the older release: length 1 whatever ε is)."""
        return self.at_full_length(unit(gradient))

    def at_full_length(self, direction: Tensor) -> Tensor:
        """Parameters of unit directions (N, …) that are gone as far as they may be."""
        return self.epsilon * direction if self.form == "ball" else direction

    @property
    def gain(self) -> float:
        """Factor between φ and what it stands for."""
        return 1.0 if self.form == "ball" else self.epsilon
