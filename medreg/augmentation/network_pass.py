"""Passes through somebody's network: always the same chance, scores out, sentences where it does not fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from medreg.augmentation.chance import Chance
from medreg.augmentation.quiet import chance_repeated, statistics_kept, train_mode
from medreg.errors import CompositionError, DataError
from medreg.geometry.precision import at_least_single

Network = Callable[[Tensor], Any]
Scores = Callable[[Any], Tensor] | str | int | None


@dataclass(frozen=True)
class NetworkPass:
    """One network during one call of an adversary.

    Attributes:
        network: images (N, C, *S) to an output.
        module: whose buffers stand still; None where nothing is known.
        scores: what of the output are scores before softmax: a function of it, a key, an index; None is all.
        dtype: of the images that the network is given.
        chance: whose dropout every pass has.
    """

    network: Network
    module: nn.Module | None
    scores: Scores
    dtype: torch.dtype
    chance: Chance

    def quiet(self, images: Tensor) -> Tensor:
        """Scores (N, K, *S) in float32 at least, with the gradient of the images, inside `standing_still`."""
        return self._call(_bare(self.network), images)

    @contextmanager
    def standing_still(self, device: torch.device) -> Iterator[None]:
        """For quiet passes and what is done with them: no buffer changes, no autocast."""
        with statistics_kept(self.module), torch.autocast(device_type=device.type, enabled=False):
            yield

    def outer(self, images: Tensor, *, statistics: Literal["frozen", "update"], train: bool) -> Tensor:
        """Scores with the gradient of the weights, under the caller's autocast.

        Args:
            images: (N, C, *S).
            statistics: whether running statistics take these images in.
            train: in train mode, whatever the mode of the network is (release).
        """
        held = self.module if statistics == "frozen" else None
        with train_mode(self.module if train else None), statistics_kept(held):
            return self._call(self.network, images)

    def _call(self, network: Network, images: Tensor) -> Tensor:
        with _in_sentences(len(images)), chance_repeated(self.chance.of_dropout(), images.device):
            output = network(images.to(self.dtype))
        return _checked(self._scores_of(output), images)

    def _scores_of(self, output: Any) -> Any:
        if callable(self.scores):
            return self.scores(output)
        if self.scores is not None:
            try:
                return output[self.scores]
            except (KeyError, IndexError, TypeError) as error:
                raise CompositionError(
                    f"scores={self.scores!r} does not fit the output of the network, {_said(output)}."
                ) from error
        return output


def _bare(network: Network) -> Network:
    """The module inside DistributedDataParallel, whose reducer must not wait for passes without weight gradients."""
    if isinstance(network, nn.parallel.DistributedDataParallel):
        inside: nn.Module = network.module
        return inside
    return network


@contextmanager
def _in_sentences(samples: int) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise DataError(
            f"Batch normalisation in train mode cannot work on a batch of {samples} whose features are one voxel; give "
            "more images at once, larger ones, or put the network into eval mode."
        ) from error


def _checked(scores: Any, images: Tensor) -> Tensor:
    if not isinstance(scores, Tensor):
        raise CompositionError(
            f"The network returns {_said(scores)}; say by `scores` what of it are the scores before softmax: a key, an "
            "index or a function (with deep supervision, the final head)."
        )
    if scores.shape[:1] != images.shape[:1] or scores.shape[2:] != images.shape[2:]:
        raise CompositionError(
            f"The network makes scores of shape {tuple(scores.shape)} from images of shape {tuple(images.shape)}; an "
            "adversary compares scores on the grid of the images, (N, classes, "
            f"{', '.join(map(str, images.shape[2:]))}). Interpolate them in the hook `scores`."
        )
    return at_least_single(scores)


def check_clean(clean: Tensor | None, images: Tensor) -> None:
    """Refuse scores that were given for clean images and are not theirs; None is fine.

    Raises:
        DataError: no tensor (N, K, *S) for images (N, C, *S).
    """
    if clean is None:
        return
    if not isinstance(clean, Tensor):
        raise DataError(f"clean is {_said(clean)}; give the scores of these images alone, (N, classes, *S).")
    if clean.shape[:1] != images.shape[:1] or clean.shape[2:] != images.shape[2:]:
        raise DataError(
            f"clean has shape {tuple(clean.shape)}, the images {tuple(images.shape)}; give the scores of these images, "
            "or leave clean out."
        )


def _said(output: Any) -> str:
    if isinstance(output, dict):
        return f"a dictionary with the keys {', '.join(map(str, output))}"
    if isinstance(output, list | tuple):
        return f"a {type(output).__name__} of {len(output)}"
    return f"a {type(output).__name__}"


def check_images(images: Tensor) -> None:
    """Refuse what cannot be attacked.

    Raises:
        DataError: no floating-point images (N, C, *S), none at all, or intensities that are not finite.
    """
    if not isinstance(images, Tensor):
        raise DataError(f"Images are a {type(images).__name__}; give a tensor of torch, (N, C, X, Y[, Z]).")
    if not images.is_floating_point():
        raise DataError(f"Images are {images.dtype}; an adversary needs floating-point intensities.")
    if images.ndim not in (4, 5):
        raise DataError(f"Images have shape {tuple(images.shape)}; give (N, C, X, Y) or (N, C, X, Y, Z).")
    if images.numel() == 0:
        raise DataError(f"Images have shape {tuple(images.shape)}: there is none; leave empty batches out.")
    if not bool(images.isfinite().all()):
        raise DataError("Images hold NaN or infinite intensities; mend them before training.")
