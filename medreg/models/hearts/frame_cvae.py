"""A conditional variational auto-encoder of single frames: the phase is one more condition, nothing recurs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from medreg.errors import require_whole
from medreg.models.hearts.base import SequenceOutput, ShapeModel, count_of
from medreg.models.hearts.cheart import drawn
from medreg.models.hearts.conditions import Conditions, Covariates
from medreg.models.hearts.decoder import FrameDecoder
from medreg.models.hearts.encoder import FrameEncoder
from medreg.models.hearts.mapping import Mapping


class FrameCVAE(ShapeModel):
    """z ~ q(z | x_t, c, t/T), x_t ~ p(x_t | z, c, t/T), each frame for itself.

    Nothing in training says that the frames of a heart share a code; for completion and generation they do: that of the
    first frame, or one from N(0, I). What CHeart's recurrence adds is what this model lacks (ours; the layers are
    CHeart's).

    Args:
        conditions: c.
        frames: T.
        classes: L + 1.
        size: S, voxels.
        n_down: halvings of the grid.
        filters: nf, channels of the finest level.
        latent: z.
        mapped: k, numbers that conditions and phase are mapped to.
        mapping_layers: linear layers of the mapping network.
        mapping_hidden: its width.
        norm: "batch" or "group".
        checkpoint: whether the decoder's activations are computed again in the backward pass.
    """

    def __init__(
        self,
        conditions: Conditions,
        *,
        frames: int,
        classes: int,
        size: Sequence[int],
        n_down: int,
        filters: int,
        latent: int,
        mapped: int,
        mapping_layers: int,
        mapping_hidden: int,
        norm: Literal["batch", "group"],
        checkpoint: bool,
    ) -> None:
        super().__init__(conditions, frames=frames, classes=classes, size=size)
        for name, value in (("latent", latent), ("filters", filters), ("mapped", mapped)):
            require_whole(f"model.{name}", value, 1)
        self.latent = latent
        self.mapping = Mapping(
            conditions.size + 1, mapped, hidden=mapping_hidden, layers=mapping_layers, input_norm=False
        )
        self.encoder = FrameEncoder(
            classes=classes, told=mapped, size=size, n_down=n_down, filters=filters, latent=latent, norm=norm
        )
        self.decoder = FrameDecoder(
            latent + mapped,
            outputs=classes,
            size=size,
            n_up=n_down,
            filters=filters,
            norm=norm,
            recompute=checkpoint,
        )

    def told(self, covariates: Covariates, frames: Tensor, count: int) -> Tensor:
        """Return what is told of some frames (F,) of every heart, (B, F, k)."""
        plain = self.conditions(covariates, count)
        phase = frames.to(plain) / self.frames
        each = plain.unsqueeze(1).expand(-1, len(frames), -1)
        both = torch.cat([each, phase.view(1, -1, 1).expand(count, -1, 1)], 2)
        mapped: Tensor = self.mapping(both.flatten(0, 1))
        return mapped.unflatten(0, both.shape[:2])

    def decode(self, latent: Tensor, told: Tensor) -> Tensor:
        """Return scores (B, F, L + 1, *S) of latents (B, F, z) and what is told (B, F, k)."""
        scores: Tensor = self.decoder(torch.cat([latent, told], 2))
        return scores

    def forward(
        self,
        shape: Tensor,
        covariates: Covariates,
        *,
        frames: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> SequenceOutput:
        """Encode and decode frames, each for itself; mean and log variance are (B·F, z).

        Args:
            shape: (B, T, *S) uint8.
            covariates: name → (B,).
            frames: (F,) of the cycle; None: all.
            generator: of the noise of the codes; None: the codes are their means.
        """
        which = torch.arange(self.frames) if frames is None else frames
        told = self.told(covariates, which, len(shape))
        chosen = shape[:, which.to(shape.device)].flatten(0, 1)
        mean, log_variance = self.encoder(chosen, told.flatten(0, 1))
        latent = drawn(mean, log_variance, generator).unflatten(0, told.shape[:2])
        return SequenceOutput(self.decode(latent, told), which, mean, log_variance)

    @torch.no_grad()
    def shapes(self, latent: Tensor, covariates: Covariates) -> Tensor:
        """Return hearts, (B, T, *S) uint8, whose frames share a latent, (B, z)."""
        told = self.told(covariates, torch.arange(self.frames), len(latent))
        found = [
            self.decode(latent.unsqueeze(1), told[:, each : each + 1]).argmax(2)
            for each in range(self.frames)
        ]
        return torch.cat(found, 1).to(torch.uint8)

    @torch.no_grad()
    def complete(
        self, first: Tensor, covariates: Covariates, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Every frame with the code of the first, its mean or drawn."""
        told = self.told(covariates, torch.zeros(1), len(first))[:, 0]
        mean, log_variance = self.encoder(first, told)
        return self.shapes(drawn(mean, log_variance, generator), covariates)

    @torch.no_grad()
    def generate(self, covariates: Covariates, *, generator: torch.Generator) -> Tensor:
        """Every frame with a code from N(0, I)."""
        size = (count_of(covariates), self.latent)
        latent = torch.randn(size, generator=generator, device=generator.device).to(self.device)
        return self.shapes(latent, covariates)
