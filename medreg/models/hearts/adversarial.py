"""Hearts that a discriminator judges: a conditional generator of sequences, and CHeart with a discriminator."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from medreg.errors import CompositionError, require_whole
from medreg.models.hearts.base import SequenceOutput, ShapeModel, count_of
from medreg.models.hearts.cheart import CHeart
from medreg.models.hearts.conditions import Conditions, Covariates
from medreg.models.hearts.discriminator import FrameDiscriminator, kernel_of
from medreg.models.hearts.doubling import Doubling
from medreg.models.hearts.layers import SLOPE
from medreg.models.hearts.recurrence import Cell, Recurrence


class AdversarialModel(ShapeModel):
    """A model whose frames a discriminator judges in training.

    Attributes:
        latent: z.
        discriminator: part of the model, so that checkpoints hold it; not used for an answer.
    """

    latent: int
    discriminator: FrameDiscriminator

    def makers(self) -> Iterator[nn.Parameter]:
        """Parameters of everything but the discriminator."""
        judges = {id(each) for each in self.discriminator.parameters()}
        return (each for each in self.parameters() if id(each) not in judges)

    def judge(self, frames: Tensor, covariates: Covariates) -> Tensor:
        """Return the log odds that frames (B, F, L + 1, *S) are real, (B, F)."""
        found: Tensor = self.discriminator(frames, self.conditions(covariates, len(frames)))
        return found

    @abstractmethod
    def decoded(self, latent: Tensor, covariates: Covariates, frames: Tensor) -> Tensor:
        """Return scores (B, F, L + 1, *S) of frames (F,) of the cycle, of latents (B, z)."""

    def reconstructed(
        self, shape: Tensor, covariates: Covariates, frames: Tensor, generator: torch.Generator
    ) -> SequenceOutput | None:
        """Return what the model says of frames of real hearts; None of a model that cannot look at hearts."""
        return None


class ConditionalGAN(AdversarialModel):
    """z ~ N(0, I), v_t = recurrence(z), x_t = decoder([A v_t ; B c]); the discriminator sees x_t and c.

    A and B are linear maps to 8 nf channels of the coarsest grid each; transposed convolutions follow. There is no
    encoder, so it cannot complete a sequence. CHeart, first released code, networks.py GenCDCGAN_G_seq (whose last
    LeakyReLU stands before its batch normalisation).

    Args:
        conditions: c.
        frames: T.
        classes: L + 1.
        size: S, voxels.
        n_down: levels below the finest.
        filters: nf.
        latent: z.
        cell: see `Recurrence`.
        first_frame: see `Recurrence`.
        discriminator_filters: nf of the discriminator.
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
        cell: Cell,
        first_frame: Literal["code", "recurrence"],
        discriminator_filters: int,
    ) -> None:
        super().__init__(conditions, frames=frames, classes=classes, size=size)
        for name, value in (("latent", latent), ("filters", filters), ("frames", frames)):
            require_whole(f"model.{name}", value, 1)
        self.latent = latent
        self.recurrence = Recurrence(latent, cell=cell, first=first_frame)
        widths = [filters * 2**level for level in reversed(range(n_down))]
        start = kernel_of(size, n_down)
        self.of_code = nn.ConvTranspose3d(latent, widths[0], start)
        self.of_told = nn.ConvTranspose3d(conditions.size, widths[0], start) if conditions.size else None
        inputs = 2 * widths[0] if conditions.size else widths[0]
        ups: list[nn.Module] = []
        for outputs in (2 * width for width in widths[1:]):
            ups += [Doubling(inputs, outputs), nn.BatchNorm3d(outputs), nn.LeakyReLU(SLOPE, inplace=True)]
            inputs = outputs
        self.ups = nn.Sequential(*ups, Doubling(inputs, classes))
        self.discriminator = FrameDiscriminator(
            classes=classes, told=conditions.size, size=size, n_down=n_down, filters=discriminator_filters
        )

    def decoded(self, latent: Tensor, covariates: Covariates, frames: Tensor) -> Tensor:
        """Decode a latent."""
        codes = self.recurrence(latent, int(frames.max()) + 1)[:, frames.to(latent.device)]
        features = self.of_code(codes.flatten(0, 1).view(-1, self.latent, 1, 1, 1))
        if self.of_told is not None:
            told = self.conditions(covariates, len(latent)).view(len(latent), -1, 1, 1, 1)
            features = torch.cat([features, self.of_told(told).repeat_interleave(len(frames), 0)], 1)
        scores: Tensor = self.ups(features)
        return scores.unflatten(0, codes.shape[:2])

    def complete(
        self, first: Tensor, covariates: Covariates, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Refused: there is no encoder."""
        raise CompositionError(
            "model=cgan_seq has no encoder, so it cannot complete the sequence of a heart."
        )

    @torch.no_grad()
    def generate(self, covariates: Covariates, *, generator: torch.Generator) -> Tensor:
        """Sequences of codes from N(0, I)."""
        size = (count_of(covariates), self.latent)
        latent = torch.randn(size, generator=generator, device=generator.device).to(self.device)
        parts = torch.arange(self.frames).split(1)
        return torch.cat(
            [self.decoded(latent, covariates, part).argmax(2).to(torch.uint8) for part in parts], 1
        )


class JudgedCHeart(CHeart, AdversarialModel):
    """CHeart, or its ablations, with a discriminator of its frames that is not told the conditions.

    CHeart, first released code, networks.py GenCVAE_Seq_forvaegan (every frame is a step of the recurrence) and
    GenCDCGAN_D_seq with its switch `vaegan`.

    Args:
        conditions: as in `CHeart`, like what is not named here.
        discriminator_filters: nf of the discriminator.
    """

    def __init__(self, conditions: Conditions, *, discriminator_filters: int, **options: Any) -> None:
        super().__init__(conditions, **options)
        self.discriminator = FrameDiscriminator(
            classes=options["classes"],
            told=0,
            size=options["size"],
            n_down=options["n_down"],
            filters=discriminator_filters,
        )

    def decoded(self, latent: Tensor, covariates: Covariates, frames: Tensor) -> Tensor:
        """Decode a latent."""
        return self.decode(latent, covariates, frames)[0]

    def reconstructed(
        self, shape: Tensor, covariates: Covariates, frames: Tensor, generator: torch.Generator
    ) -> SequenceOutput:
        """What CHeart says of real hearts."""
        found: SequenceOutput = self(shape, covariates, frames=frames, generator=generator)
        return found
