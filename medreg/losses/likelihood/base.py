"""What every likelihood promises to a posterior."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from medreg.errors import DataError
from medreg.losses.likelihood.residual import for_samples


class Likelihood(nn.Module, ABC):
    """−α ln p(F | W), a sum over the voxels of the mask, one value a sample.

    Samples are chains of pairs, chain c of P pairs at c·P … (c + 1)·P of a batch. A likelihood may have numbers of
    its own for each pair (a standard deviation, a mixture); they are shared by the chains of the pair, stand
    beside the field and are no part of what is sampled.

    Attributes:
        pairs: P of the last `prepare`; 0 before it.
        started: whether the numbers have their initial values.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pairs = 0
        self.started = False

    def prepare(self, pairs: int, like: Tensor) -> None:
        """Make room for the numbers of P pairs, forgetting those of any earlier ones.

        Args:
            pairs: P.
            like: any tensor of the device to work on.
        """
        self.pairs, self.started = pairs, False
        self._prepare(pairs, like)

    @torch.no_grad()
    def start(self, warped: Tensor, fixed: Tensor, mask: Tensor | None = None) -> None:
        """Give the numbers of each pair their initial values.

        Args:
            warped: (S, C, *grid) moving images at the start of the fit.
            fixed: (P or S, C, *grid).
            mask: (P or S, 1, *grid), or None.

        Raises:
            DataError: an empty mask, or an image without contrast inside it.
        """
        self._know(fixed)
        for name, image in (("fixed", fixed), ("moving", warped)):
            require_contrast(image, mask, name)
        self._start(warped.detach(), fixed, mask)
        self.started = True

    def forward(
        self, warped: Tensor, fixed: Tensor, *, mask: Tensor | None = None, adapt: bool = False
    ) -> Tensor:
        """−α Σ_x ln p of every sample.

        Args:
            warped: (S, C, *grid) moving images on the fixed grid.
            fixed: (P, C, *grid) of the pairs, or (S, C, *grid).
            mask: (P or S, 1, *grid) weights in [0, 1]; voxels at 0 contribute nothing, whatever is there.
            adapt: the own numbers of each pair make one step for each of its chains before the value is taken.

        Returns:
            (S,), float64 where the device has it.

        Raises:
            DataError: the shapes do not fit.
        """
        self._know(fixed)
        if not self.started:
            self.start(warped, fixed, mask)
        with torch.autocast(warped.device.type, enabled=False):
            return self._evaluate(warped, fixed, mask, adapt)

    def state(self) -> dict[str, Any]:
        """Return everything needed to go on bit by bit as if nothing had happened."""
        return {"pairs": self.pairs, "started": self.started}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a state; `prepare` for the same pairs comes before."""
        self.started = bool(state["started"])

    def chains_of(self, samples: int) -> list[slice]:
        """Return where each chain lies in a batch of so many samples."""
        return [slice(first, first + self.pairs) for first in range(0, samples, self.pairs)]

    def _know(self, fixed: Tensor) -> None:
        if not self.pairs:
            self.prepare(len(fixed), fixed)

    def _prepare(self, pairs: int, like: Tensor) -> None:
        """Allocate; nothing to do without numbers of one's own."""

    def _start(self, warped: Tensor, fixed: Tensor, mask: Tensor | None) -> None:
        """Initial values; nothing to do without numbers of one's own."""

    @abstractmethod
    def _evaluate(self, warped: Tensor, fixed: Tensor, mask: Tensor | None, adapt: bool) -> Tensor:
        """Return the value of `forward`."""


def require_contrast(image: Tensor, mask: Tensor | None, name: str) -> None:
    """Refuse images of which no posterior can be made.

    Args:
        image: (S or P, C, *grid).
        mask: (S or P, 1, *grid), or None.
        name: of the image, for the message.

    Raises:
        DataError: a mask without voxels, or an image with one value in it, or with NaN or infinity.
    """
    size = max(len(image), 1 if mask is None else len(mask))
    for number in range(size):
        values = image[number % len(image)]
        if mask is not None:
            chosen = mask[number % len(mask)].expand_as(values) > 0
            if not chosen.any():
                raise DataError(
                    f"The mask of pair {number} is empty; give one that holds the anatomy, or no mask."
                )
            values = values[chosen]
        if not values.isfinite().all():
            raise DataError(
                f"The {name} image of pair {number} holds NaN or infinity; mend the file or mask the voxels."
            )
        if values.max() == values.min():
            place = "" if mask is None else " inside the mask"
            raise DataError(
                f"The {name} image of pair {number} is constant{place} ({values.max():g}); there is nothing to "
                "register by. Look at the file and its mask."
            )


def samples_mask(mask: Tensor | None, samples: int) -> Tensor | None:
    """Return the mask (S, 1, *grid) of every sample, or None."""
    return None if mask is None else for_samples(mask, samples)
