"""CHeart: a conditional variational auto-encoder of a frame, unrolled over the cycle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from medreg.errors import CompositionError, require_choice, require_whole
from medreg.models.hearts.base import SequenceOutput, ShapeModel, count_of
from medreg.models.hearts.conditions import Conditions, Covariates
from medreg.models.hearts.decoder import FrameDecoder
from medreg.models.hearts.displacement import MotionDecoder
from medreg.models.hearts.encoder import FrameEncoder
from medreg.models.hearts.mapping import Mapping
from medreg.models.hearts.recurrence import Cell, Recurrence

MAPPED = {"both": (True, True), "encoder": (True, False), "temporal": (False, True), "none": (False, False)}
DECODERS = ("voxel", "displacement", "displacement_released")


class CHeart(ShapeModel):
    """z ~ q(z | x_0, c), u = [z ; z_c], v_0 = u, v_t = LSTM cell(u), x_t ~ p(x_t | v_t).

    z_c is what a mapping network makes of the conditions c; the encoder is told z_c in every voxel. Qiao et al., TMI
    2023; released code, networks.py GenCVAE_Seq. Which options are the released defaults: docs/explanation/cheart.md.

    Args:
        conditions: c.
        frames: T.
        classes: L + 1.
        size: S, voxels.
        n_down: halvings of the grid.
        filters: nf, channels of the finest level.
        latent: z.
        mapped: k, numbers of z_c.
        mapping_layers: linear layers of the mapping network.
        mapping_hidden: its width.
        mapping_input_norm: whether c passes a PixelNorm first (released).
        mapping_in: who is told z_c and not c itself: "both" (EnDe), "encoder" (En), "temporal" (De) or "none".
        cell: see `Recurrence`.
        cond_position: whether conditions join the code "before" or "after" the recurrence.
        first_frame: see `Recurrence`.
        decoder: "voxel"; "displacement": frames are frame 0 moved; "displacement_released": frame 0 too.
        norm: of the decoder, see `FrameDecoder`; "group" is that of the encoder as well.
        sampled: whether z is drawn in training; False: z = μ, a plain auto-encoder.
        checkpoint: whether the decoder's activations are computed again in the backward pass: less memory, more time.
        frames_at_once: frames of a heart that are decoded at once for an answer; null: all.
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
        mapping_input_norm: bool,
        mapping_in: Literal["both", "encoder", "temporal", "none"],
        cell: Cell,
        cond_position: Literal["before", "after"],
        first_frame: Literal["code", "recurrence"],
        decoder: Literal["voxel", "displacement", "displacement_released"],
        norm: Literal["batch", "per_frame", "group"],
        sampled: bool,
        checkpoint: bool,
        frames_at_once: int | None = None,
    ) -> None:
        super().__init__(conditions, frames=frames, classes=classes, size=size)
        require_choice("model.mapping_in", mapping_in, MAPPED)
        require_choice("model.cond_position", cond_position, ("before", "after"))
        require_choice("model.decoder", decoder, DECODERS)
        for name, value in (("frames", frames), ("latent", latent), ("filters", filters), ("mapped", mapped)):
            require_whole(f"model.{name}", value, 1)
        if frames_at_once is not None:
            require_whole("model.frames_at_once", frames_at_once, 1)
        self.latent, self.sampled, self.before = latent, sampled, cond_position == "before"
        self.generates = sampled  # a plain auto-encoder has no distribution of codes to draw from
        self.frames_at_once = frames_at_once
        self.in_encoder, self.in_temporal = MAPPED[mapping_in]
        told = conditions.size
        wanted = told > 0 and (self.in_encoder or self.in_temporal)
        self.mapping = (
            Mapping(told, mapped, hidden=mapping_hidden, layers=mapping_layers, input_norm=mapping_input_norm)
            if wanted
            else None
        )
        told_encoder = mapped if wanted and self.in_encoder else told
        told_temporal = mapped if wanted and self.in_temporal else told
        self.encoder = FrameEncoder(
            classes=classes,
            told=told_encoder,
            size=size,
            n_down=n_down,
            filters=filters,
            latent=latent,
            norm=norm,
        )
        self.recurrence = Recurrence(
            latent + (told_temporal if self.before else 0), cell=cell, first=first_frame
        )
        shape = {"size": size, "n_up": n_down, "filters": filters, "norm": norm, "recompute": checkpoint}
        width = latent + told_temporal
        self.moved_first = decoder == "displacement_released"
        self.decoder: FrameDecoder | MotionDecoder
        if decoder == "voxel":
            self.decoder = FrameDecoder(width, outputs=classes, **shape)  # type: ignore[arg-type]
        else:
            self.decoder = MotionDecoder(width, classes=classes, moved_first=self.moved_first, **shape)  # type: ignore[arg-type]

    def told(self, covariates: Covariates, count: int) -> tuple[Tensor, Tensor]:
        """Return what the encoder and what the recurrence are told, (B, N) each."""
        plain = self.conditions(covariates, count)
        mapped = plain if self.mapping is None else self.mapping(plain)
        return (mapped if self.in_encoder else plain), (mapped if self.in_temporal else plain)

    def encode(self, first: Tensor, covariates: Covariates) -> tuple[Tensor, Tensor]:
        """Return μ and log σ² of the codes, (B, z) each, of first frames (B, *S) uint8.

        Raises:
            CompositionError: frames of another size.
        """
        if tuple(first.shape[1:]) != self.size:
            raise CompositionError(
                f"The model knows hearts of {list(self.size)} voxels, not {list(first.shape[1:])}; set model.size, or "
                "data.grid, to the same."
            )
        found: tuple[Tensor, Tensor] = self.encoder(first, self.told(covariates, len(first))[0])
        return found

    def codes(self, latent: Tensor, covariates: Covariates, frames: Tensor) -> Tensor:
        """Return the codes v_t of frames (F,), (B, F, z + k), of latents (B, z)."""
        told = self.told(covariates, len(latent))[1]
        last = int(frames.max()) + 1
        if self.before:
            return self.recurrence(torch.cat([latent, told], 1), last)[:, frames.to(latent.device)]
        alone = self.recurrence(latent, last)[:, frames.to(latent.device)]
        return torch.cat([alone, told.unsqueeze(1).expand(-1, len(frames), -1)], 2)

    def decode(
        self, latent: Tensor, covariates: Covariates, frames: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return scores (B, F, L + 1, *S) of frames, all by default, and the roughness of a motion.

        Args:
            latent: (B, z).
            covariates: name → (B,).
            frames: (F,) of the cycle, which may go on beyond T.
        """
        chosen = torch.arange(self.frames) if frames is None else frames.cpu()
        if isinstance(self.decoder, FrameDecoder):
            scores: Tensor = self.decoder(self.codes(latent, covariates, chosen))
            return scores, None
        steps = chosen + 1 if self.moved_first else chosen
        codes = self.codes(latent, covariates, torch.cat([torch.zeros(1, dtype=steps.dtype), steps]))
        moved: tuple[Tensor, Tensor] = self.decoder(codes[:, 0], codes[:, 1:], chosen)
        return moved

    def forward(
        self,
        shape: Tensor,
        covariates: Covariates,
        *,
        frames: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> SequenceOutput:
        """Encode the first frame, decode frames.

        Args:
            shape: (B, T, *S) uint8, of which frame 0 alone is looked at.
            covariates: name → (B,).
            frames: (F,) that are decoded; None: all.
            generator: of the noise of the code; None: the code is μ.
        """
        mean, log_variance = self.encode(shape[:, 0], covariates)
        latent = drawn(mean, log_variance, generator) if self.sampled else mean
        scores, penalty = self.decode(latent, covariates, frames)
        which = torch.arange(self.frames) if frames is None else frames
        spread = log_variance if self.sampled else None
        return SequenceOutput(scores, which, mean, spread, penalty)

    @torch.no_grad()
    def shapes(self, latent: Tensor, covariates: Covariates) -> Tensor:
        """Return hearts, (B, T, *S) uint8, of latents (B, z), a few frames at a time."""
        step = self.frames_at_once or self.frames
        parts = torch.arange(self.frames).split(step)
        found = [self.decode(latent, covariates, part)[0].argmax(2).to(torch.uint8) for part in parts]
        return torch.cat(found, 1)

    @torch.no_grad()
    def complete(
        self, first: Tensor, covariates: Covariates, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """The sequence of the mean code, or of one that is drawn."""
        mean, log_variance = self.encode(first, covariates)
        latent = drawn(mean, log_variance, generator) if self.sampled else mean
        return self.shapes(latent, covariates)

    @torch.no_grad()
    def generate(self, covariates: Covariates, *, generator: torch.Generator) -> Tensor:
        """The sequences of codes from N(0, I).

        Raises:
            CompositionError: a plain auto-encoder, whose codes have no such distribution.
        """
        if not self.sampled:
            raise CompositionError(
                "A plain auto-encoder (model.sampled=false) says nothing of how codes are distributed, so it cannot "
                "generate; train with model.sampled=true."
            )
        size = (count_of(covariates), self.latent)
        latent = torch.randn(size, generator=generator, device=generator.device).to(self.device)
        return self.shapes(latent, covariates)


def drawn(mean: Tensor, log_variance: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return μ + σ ε, ε ~ N(0, I); μ without a generator."""
    if generator is None:
        return mean
    noise = torch.randn(mean.shape, generator=generator, device=generator.device, dtype=mean.dtype)
    return mean + (0.5 * log_variance).exp() * noise.to(mean.device)
