"""A conditional variational auto-encoder of ED and ES together, which ages a heart by decoding it under another age."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medreg.errors import CompositionError, require_whole
from medreg.models.hearts.adversarial import AdversarialModel
from medreg.models.hearts.ageheart import PHASES, refuse_other_frames
from medreg.models.hearts.base import AgeingModel, SequenceOutput, count_of
from medreg.models.hearts.cheart import drawn
from medreg.models.hearts.conditions import Conditions, Covariates
from medreg.models.hearts.decoder import FrameDecoder
from medreg.models.hearts.discriminator import FrameDiscriminator
from medreg.models.hearts.encoder import FrameEncoder


class HeartCVAE(AgeingModel):
    """q(z | x, ℓ) and p(x | z, ℓ) of hearts x at ED and ES, with encoder and decoder of CHeart.

    The encoder sees what a voxel is at ED and what at ES as one class of (L + 1)². A heart at another age is the mean
    code under the own age, decoded under the other.

    Args:
        conditions: ℓ.
        frames: 2.
        classes: L + 1.
        size: S, voxels.
        n_down: halvings of the grid.
        filters: channels of the finest level.
        latent: length of z.
        norm: "batch" or "group".
    """

    completes = False

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
        norm: str,
    ) -> None:
        super().__init__(conditions, frames=frames, classes=classes, size=size)
        refuse_other_frames(frames)
        require_whole("model.latent", latent, 1)
        self.latent, told = latent, conditions.size
        self.encoder = FrameEncoder(
            classes=classes**PHASES,
            told=told,
            size=size,
            n_down=n_down,
            filters=filters,
            latent=latent,
            norm=norm,
        )
        self.decoder = FrameDecoder(
            latent + told, outputs=PHASES * classes, size=size, n_up=n_down, filters=filters, norm=norm,
            recompute=False,
        )  # fmt: skip

    def encode_both(self, shape: Tensor, covariates: Covariates) -> tuple[Tensor, Tensor]:
        """Return μ and log σ², (B, z) each, of hearts (B, 2, *S)."""
        both = shape[:, 0] * self.classes + shape[:, 1]
        found: tuple[Tensor, Tensor] = self.encoder(both, self.conditions(covariates, len(shape)))
        return found

    def decoded(self, latent: Tensor, covariates: Covariates, frames: Tensor | None = None) -> Tensor:
        """Return scores (B, F, L + 1, *S) of codes (B, z), of both phases or of those of `frames`."""
        code = torch.cat([latent, self.conditions(covariates, len(latent))], 1)
        scores: Tensor = self.decoder(code.unsqueeze(1))[:, 0].unflatten(1, (PHASES, self.classes))
        return scores if frames is None else scores[:, frames.to(scores.device)]

    def forward(
        self,
        shape: Tensor,
        covariates: Covariates,
        *,
        frames: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> SequenceOutput:
        """Encode and decode; arguments as in `CHeart`."""
        mean, log_variance = self.encode_both(shape, covariates)
        scores = self.decoded(drawn(mean, log_variance, generator), covariates, frames)
        which = torch.arange(PHASES) if frames is None else frames
        return SequenceOutput(scores, which, mean, log_variance)

    @torch.no_grad()
    def age(self, shape: Tensor, covariates: Covariates, later: Covariates) -> Tensor:
        """Decode the mean code of now under the later conditions."""
        mean, _ = self.encode_both(shape.to(self.device), covariates)
        return self.decoded(mean, later).argmax(2).to(torch.uint8)

    @torch.no_grad()
    def generate(self, covariates: Covariates, *, generator: torch.Generator) -> Tensor:
        """Decode codes of N(0, I)."""
        size = (count_of(covariates), self.latent)
        latent = torch.randn(size, generator=generator, device=generator.device).to(self.device)
        return self.decoded(latent, covariates).argmax(2).to(torch.uint8)

    def complete(
        self, first: Tensor, covariates: Covariates, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """It encodes ED and ES together, so ES cannot be left to it.

        Raises:
            CompositionError: always.
        """
        raise CompositionError(
            "model=heart_cvae encodes ED and ES together and cannot complete a sequence from ED; use model=cheart."
        )


class JudgedHeartCVAE(HeartCVAE, AdversarialModel):
    """The same with a discriminator that sees ED and ES together and is told the conditions.

    Args:
        conditions: as in `HeartCVAE`, like what is not named here.
        discriminator_filters: channels of the discriminator's first level.
        **options: the rest.
    """

    def __init__(self, conditions: Conditions, *, discriminator_filters: int, **options: object) -> None:
        super().__init__(conditions, **options)  # type: ignore[arg-type]
        self.discriminator = FrameDiscriminator(
            classes=PHASES * self.classes,
            told=conditions.size,
            size=self.size,
            n_down=options["n_down"],  # type: ignore[arg-type]
            filters=discriminator_filters,
        )

    def judge(self, frames: Tensor, covariates: Covariates) -> Tensor:
        """Return the log odds that hearts (B, 2, L + 1, *S) are real, (B, 1)."""
        return super().judge(frames.flatten(1, 2).unsqueeze(1), covariates)

    def reconstructed(
        self, shape: Tensor, covariates: Covariates, frames: Tensor, generator: torch.Generator
    ) -> SequenceOutput:
        """What it says of real hearts."""
        found: SequenceOutput = self(shape, covariates, frames=frames, generator=generator)
        return found
