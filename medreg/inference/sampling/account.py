"""What an exploration of a posterior tells of itself beside its samples."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from medreg.inference.sampling.safety import Stop


@dataclass(frozen=True, eq=False)
class Account:
    """How samples came about.

    Attributes:
        bound: (iterations, P) evidence lower bound of the variational fit before every step, nats up to a constant;
            None where nothing was fitted.
        stops: chains that were stopped; what they sampled before is kept.
        notes: what a person should know, sentences without a case.
    """

    bound: Tensor | None = None
    stops: tuple[Stop, ...] = ()
    notes: tuple[str, ...] = ()
