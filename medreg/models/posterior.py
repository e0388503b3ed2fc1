"""One way to ask any registration model for its posterior: one that tells its samples, or one that returns them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from medreg.errors import CompositionError
from medreg.inference.gathering import feed
from medreg.inference.registration import Registration
from medreg.models.asking import ask
from medreg.models.base import RegistrationModel

__all__ = ["ask_posterior", "listens"]


def listens(model: RegistrationModel) -> bool:
    """Say whether a model tells its samples to listeners while it draws them."""
    return "listeners" in inspect.signature(model.forward).parameters


def ask_posterior(
    model: RegistrationModel,
    batch: Mapping[str, Any],
    *,
    use_masks: bool,
    listeners: Sequence[Any],
    **context: Any,
) -> Registration:
    """Return a model's answer to a batch and tell its samples to listeners.

    Args:
        model: any registration model that draws samples.
        batch: as `asking.ask` takes it.
        use_masks: whether images are compared within their masks.
        listeners: each called as `listener(displacement (C·B, D, *S), number)` with a sample of every chain.
        **context: what only some models take, see `asking.ask`.

    Raises:
        CompositionError: the model gives one answer and no samples.
    """
    if listens(model):
        return ask(model, batch, use_masks=use_masks, listeners=tuple(listeners), **context)
    registration = ask(model, batch, use_masks=use_masks, **context)
    samples: Tensor | None = registration.samples
    if samples is None:
        raise CompositionError(
            f"{type(model).__name__} gives one answer and no samples, so nothing is known of its uncertainty; use a "
            "model that draws from a posterior, such as model=bayes."
        )
    feed(listeners, samples)
    return registration
