"""One way to ask any registration model for its posterior: one that tells its samples, or one that returns them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from medreg.errors import CheckpointError, CompositionError
from medreg.geometry.pair_transform import PairTransform, from_slices
from medreg.inference.posterior_inference import Kept
from medreg.inference.registration import Registration
from medreg.inference.sampling.draw import Draw, Listener
from medreg.inference.sampling.run import ChainsStopped
from medreg.models.asking import ask
from medreg.models.base import RegistrationModel


@dataclass(frozen=True)
class Sampled:
    """A model's answer, and what should be known of its sampling.

    Attributes:
        registration: the answer.
        notes: sentences, such as which chain was stopped and why.
    """

    registration: Registration
    notes: tuple[str, ...]


def takes(model: RegistrationModel, word: str) -> bool:
    """Say whether a call of the model takes an argument of that name."""
    return word in inspect.signature(model.forward).parameters


def ask_posterior(
    model: RegistrationModel,
    batch: Mapping[str, Any],
    *,
    use_masks: bool,
    listener: Listener,
    count: int | None = None,
    so_far: Callable[[], Tensor | None] = lambda: None,
    **context: Any,
) -> Sampled:
    """Return a model's answer to a batch, and tell its samples to a listener.

    Args:
        model: any registration model that draws samples.
        batch: as `asking.ask` takes it.
        use_masks: whether images are compared within their masks.
        listener: told every sample.
        count: number of samples; None for the model's own.
        so_far: mean (B, D, *S) of what the listener has been told, None of nothing: the answer where all chains stop.
        **context: what only some models take, see `asking.ask`.

    Raises:
        CompositionError: the model gives no samples, or does not let a call say how many.
        ChainsStopped: all chains were stopped before there was any sample.
    """
    if count is not None and not takes(model, "draws"):
        raise CompositionError(
            f"{type(model).__name__} does not let a call say how many samples it draws; leave --samples out."
        )
    if count is not None:
        context["draws"] = count
    if not takes(model, "listeners"):
        return Sampled(_fed(ask(model, batch, use_masks=use_masks, **context), model, listener), ())
    try:
        found = ask(model, batch, use_masks=use_masks, listeners=(listener,), **context)
    except ChainsStopped as error:
        mean = so_far()
        if mean is None:
            raise
        return Sampled(Registration(mean, mean, mean), (str(error),))
    return Sampled(found, () if found.sampling is None else tuple(found.sampling.notes))


def _fed(registration: Registration, model: RegistrationModel, listener: Listener) -> Registration:
    """Tell the samples of an answer, as of one chain."""
    if registration.samples is None:
        raise CompositionError(
            f"{type(model).__name__} gives one answer and no samples, so nothing is known of its uncertainty; use a "
            "model that draws from a posterior, such as model=bayes."
        )
    for number, sample in enumerate(registration.samples):
        listener(Draw.independent(sample, number))
    return registration


def go_on(ask: Callable[..., Sampled], model: RegistrationModel, kept: Kept | None) -> Sampled:
    """Ask a model that can go on from where a killed process was; what was kept for it goes when it has answered.

    Args:
        ask: asks, and takes `keep` if the model does.
        model: any.
        kept: where its state is kept; None for nowhere.
    """
    if kept is None or not takes(model, "keep"):
        return ask()
    try:
        found = ask(keep=kept)
    except CheckpointError as error:
        kept.remove()
        found = ask(keep=kept)
        found = Sampled(
            found.registration, (*found.notes, f"it began anew, since its state was of no use: {error}")
        )
    kept.remove()
    return found


class MapListener(Protocol):
    """Who is told of samples as maps between two images."""

    def __call__(self, maps: list[PairTransform], draw: Draw) -> None:
        """Take in one sample of every chain."""

    def state(self) -> dict[str, Any]:
        """All that was gathered; empty before the first sample."""

    def load_state(self, state: Mapping[str, Any], like: PairTransform) -> None:
        """Go on from what `state` gave, with maps like one of them."""


@dataclass
class AsTransforms:
    """A listener that tells every sample on as maps between two images, of all chains at once.

    Attributes:
        told: told of the maps of the chains.
        pairs: P, the slices of the image, or 1 for a volume.
        slice_axis: axis across slices, None for a volume.
        transform_of: from a displacement (1, 3, *S) of the model's grid to the map.
    """

    told: MapListener
    pairs: int
    slice_axis: int | None
    transform_of: Callable[[Tensor], PairTransform]
    _shape: tuple[int, ...] = ()

    def __call__(self, draw: Draw) -> None:
        """Take in one sample of every chain."""
        maps = []
        for sample in draw.field.detach().float().cpu().split(self.pairs):
            volume = sample if self.slice_axis is None else from_slices(sample, self.slice_axis)
            self._shape = tuple(volume.shape)
            maps.append(self.transform_of(volume))
        self.told(maps, draw)

    def state(self) -> dict[str, Any]:
        """What was gathered, and the size of a displacement."""
        return {"told": self.told.state(), "shape": list(self._shape)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        if state["told"]:
            self._shape = tuple(state["shape"])
            self.told.load_state(state["told"], self.transform_of(torch.zeros(self._shape)))
