"""From the code of a frame to the scores of every voxel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from medreg.models.blocks.conv import channels_last
from medreg.models.hearts.doubling import Doubling
from medreg.models.hearts.layers import SLOPE, coarsest, normalisation


class FrameDecoder(nn.Module):
    """Scores of every class in every voxel: a linear layer, then transposed convolutions that double the grid.

    k4 s2 p1 transposed convolutions to …, 4 nf, 2 nf, nf channels with a normalisation and LeakyReLU(0.2) each, and one
    to the classes with neither. Nothing stands between the linear layer and the first of them (Qiao et al., TMI 2023,
    CHeart; released code, networks.py).

    Batch normalisation takes all frames of all hearts as one batch. `norm="per_frame"` calls the decoder once a frame
    instead, as the release does: in training each frame is then normalised by its own statistics over the hearts, which
    differ from the running ones that evaluation uses.

    Args:
        width: of the code.
        outputs: classes.
        size: S, voxels; a multiple of 2^n_up.
        n_up: transposed convolutions.
        filters: nf.
        norm: "batch", "per_frame" or "group".
        recompute: whether activations are computed again in the backward pass instead of being kept.
    """

    def __init__(
        self,
        width: int,
        *,
        outputs: int,
        size: Sequence[int],
        n_up: int,
        filters: int,
        norm: str,
        recompute: bool,
    ) -> None:
        super().__init__()
        widths = [filters * 2**level for level in reversed(range(n_up))]
        self.start = (widths[0], *coarsest(size, n_up))
        self.per_frame, self.recompute = norm == "per_frame", recompute
        self.linear = nn.Linear(width, torch.Size(self.start).numel())
        ups = [Doubling(before, after) for before, after in zip(widths, [*widths[1:], outputs], strict=True)]
        self.ups = nn.ModuleList(ups)
        self.norms = nn.ModuleList(normalisation(norm, width) for width in widths[1:])

    def forward(self, codes: Tensor) -> Tensor:
        """Return scores (B, F, outputs, *S) of codes (B, F, width)."""
        if self.per_frame and self.training:
            return torch.stack([self._several(codes[:, place]) for place in range(codes.shape[1])], 1)
        return self._several(codes.flatten(0, 1)).unflatten(0, codes.shape[:2])

    def _several(self, codes: Tensor) -> Tensor:
        """Return scores (N, outputs, *S) of codes (N, width)."""
        if (
            self.recompute and torch.is_grad_enabled()
        ):  # but for the scores, which the loss needs all the same
            features = checkpoint(
                self._features,
                codes,
                use_reentrant=False,
                preserve_rng_state=False,
                context_fn=self._contexts,
            )
        else:
            features = self._features(codes)
        scores: Tensor = self.ups[-1](features)
        return scores

    def _features(self, codes: Tensor) -> Tensor:
        """Return what the last layer makes scores of."""
        features = channels_last(self.linear(codes).unflatten(1, self.start))
        for up, norm in zip(self.ups[:-1], self.norms, strict=True):
            features = nn.functional.leaky_relu(norm(up(features)), SLOPE, inplace=True)
        return features

    def _contexts(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """Around the first pass and around the second, which must not count the batch once more."""
        return nullcontext(), self._uncounted()

    @contextmanager
    def _uncounted(self) -> Iterator[None]:
        norms = [norm for norm in self.norms if isinstance(norm, nn.BatchNorm3d)]
        kept = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
        for norm in norms:  # with momentum 0 the running statistics stay as they are
            norm.momentum = 0.0
            norm.num_batches_tracked = norm.num_batches_tracked.clone()  # type: ignore[union-attr]
        try:
            yield
        finally:
            for norm, momentum, count in kept:
                norm.momentum, norm.num_batches_tracked = momentum, count
