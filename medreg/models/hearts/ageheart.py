"""The ageing heart: a code of who it is, a style of age and sex, a heart of both (Qiao et al., STACOM 2022)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, l1_loss

from medreg.errors import CompositionError, require_choice
from medreg.models.hearts.age_codes import GROUPS, AgeCode, group_years
from medreg.models.hearts.ageheart_critics import AgeClassifier, ImageCritic, LatentCritic
from medreg.models.hearts.ageheart_networks import HeartGenerator, IdentityEncoder, start_as_he
from medreg.models.hearts.base import AgeingModel
from medreg.models.hearts.condition import age_group
from medreg.models.hearts.conditions import Conditions, Covariates
from medreg.models.hearts.mapping import Mapping

OUTS = ("softmax_ce", "tanh_l1", "tanh_bce")
OUT_OF_MODE = {"intended": "softmax_ce", "released": "tanh_l1"}
START_OF_MODE = {"intended": "he", "released": "torch"}
PHASES = 2  # ED and ES


class AgeHeart(AgeingModel):
    """An auto-encoder of ED and ES whose code is free of age and sex, with the critics that make it so.

    x (B, 2, *S) → E → z in (−1, 1)^z, and ℓ of age and sex → M → s; G(z, s) → a heart. Another ℓ for the same z is the
    same person at another age.

    Args:
        conditions: of which `age_years` must be an `AgeCode`; others beside age and sex are told as they are scaled.
        frames: 2.
        classes: L + 1.
        size: S, voxels.
        n_down: halvings of the grid, except on the full one, where there are the five released convolutions.
        z_dim: length of z.
        mapping: whether there is a network M, which gives s the length `style_dim`; otherwise s = ℓ.
        style_dim: length of s.
        mapping_hidden: width of M.
        mapping_layers: linear layers of M.
        encoder_channels: of the encoder's first convolution; each next has twice as many.
        generator_channels: of the generator's last convolution but one; each before has twice as many.
        critic_width: of the latent critic's first layer.
        critic_sees_label: whether it is told ℓ as well, so that the code must not tell age and sex (ours).
        image_critic_width: of the discriminator's linear layer.
        classifier_channels: of the classifier's first convolution.
        classifier_dropout: share of its features left out in training.
        mode: `intended` or `released`: what `out`, `code_norm` and `start` are where they are None.
        out: `softmax_ce`: a softmax a phase, trained by cross-entropy; `tanh_l1` (released) and `tanh_bce` (its other
            option, which takes the tanh for a logit).
        code_norm: whether codes are normalised over a batch before the tanh (ours), see `IdentityEncoder`.
        start: how encoder and generator begin: `he` (ours), see `start_as_he`, or `torch`, PyTorch's own (released).
        sharp: whether encoder and critics see generated hearts as label maps, as they see real ones, gradients passing
            as if they were not (ours); as released they see softmax or tanh itself, which tells them from real ones.

    Raises:
        CompositionError: other frames than ED and ES, no age, or a grid that does not fit.
        ConfigError: an unknown `out`.
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
        z_dim: int,
        mapping: bool,
        style_dim: int,
        mapping_hidden: int,
        mapping_layers: int,
        encoder_channels: int,
        generator_channels: int,
        critic_width: int,
        critic_sees_label: bool,
        image_critic_width: int,
        classifier_channels: int,
        classifier_dropout: float,
        mode: str,
        out: str | None,
        code_norm: bool | None,
        start: str | None,
        sharp: bool,
    ) -> None:
        super().__init__(conditions, frames=frames, classes=classes, size=size)
        refuse_other_frames(frames)
        self.age_place, self.noise_sd = age_columns(conditions)
        require_choice("model.mode", mode, tuple(OUT_OF_MODE))
        out = OUT_OF_MODE[mode] if out is None else out
        require_choice("model.out", out, OUTS)
        self.out, self.sharp, self.z_dim = out, sharp, z_dim
        channels, label = PHASES * classes, self.conditions.size
        self.mapping = (
            Mapping(label, style_dim, hidden=mapping_hidden, layers=mapping_layers, input_norm=True)
            if mapping
            else None
        )
        self.encoder = IdentityEncoder(
            channels,
            base_channels=encoder_channels,
            size=size,
            depth=n_down,
            z_dim=z_dim,
            normalised=mode == "intended" if code_norm is None else code_norm,
        )
        self.generator = HeartGenerator(
            z_dim + (style_dim if mapping else label), channels,
            base_channels=generator_channels, size=size, depth=n_down,
        )  # fmt: skip
        start = START_OF_MODE[mode] if start is None else start
        require_choice("model.start", start, tuple(START_OF_MODE.values()))
        if start == "he":
            start_as_he(self.encoder)
            start_as_he(self.generator)
        self.latent_critic = LatentCritic(
            z_dim, width=critic_width, label_dim=label if critic_sees_label else 0
        )
        self.image_critic = ImageCritic(channels, label, size=size, width=image_critic_width)
        self.classifier = AgeClassifier(
            channels, base_channels=classifier_channels, size=size, groups=GROUPS, dropout=classifier_dropout
        )

    # What a step is made of

    def heart(self, shape: Tensor) -> Tensor:
        """Return shares of the classes (B, 2·(L + 1), *S), 0 and 1, of shapes (B, 2, *S)."""
        places = torch.arange(self.classes, dtype=shape.dtype, device=shape.device)[:, None, None, None]
        return (shape.unsqueeze(2) == places).flatten(1, 2).to(self.conditions.low.dtype)

    def label(self, covariates: Covariates, *, generator: torch.Generator | None = None) -> Tensor:
        """Return ℓ, (B, n).

        Args:
            covariates: name → (B,).
            generator: draws the noise of the age code, in training; None: no noise.
        """
        label = self.conditions(covariates)
        if generator is not None and self.noise_sd > 0:
            noise = torch.randn(len(label), GROUPS, generator=generator).to(label)
            label[:, self.age_place : self.age_place + GROUPS] += self.noise_sd * noise
        return label

    def encode(self, heart: Tensor, *, made: bool = False) -> Tensor:
        """Return z, (B, z), of hearts (B, 2·(L + 1), *S).

        Args:
            heart: shares of the classes.
            made: whether the generator made them: they are then normalised as real ones are on the whole, and do not
                count among them.
        """
        norm = self.encoder.norm
        training = norm.training
        if made:
            norm.eval()
        code: Tensor = self.encoder(heart)
        norm.train(training)
        return code

    def decode(self, code: Tensor, label: Tensor) -> Tensor:
        """Return scores (B, 2·(L + 1), *S), before softmax or tanh, of codes (B, z) and labels (B, n)."""
        scores: Tensor = self.generator(code, label if self.mapping is None else self.mapping(label))
        return scores

    def made(self, scores: Tensor) -> Tensor:
        """Return hearts (B, 2·(L + 1), *S) as encoder and critics see them."""
        if self.out == "softmax_ce":
            soft = scores.unflatten(1, (PHASES, self.classes)).softmax(2)
        else:
            soft = scores.tanh().unflatten(1, (PHASES, self.classes))
        if self.sharp:
            hard = (soft == soft.amax(2, keepdim=True)).to(soft)
            soft = hard + soft - soft.detach()
        return soft.flatten(1, 2)

    def difference(self, scores: Tensor, heart: Tensor) -> Tensor:
        """Return the reconstruction's loss, a mean over hearts, phases and voxels (and classes, of tanh)."""
        if self.out == "tanh_l1":
            return l1_loss(scores.tanh(), heart)
        if self.out == "tanh_bce":
            return binary_cross_entropy_with_logits(scores.tanh(), heart)
        logs = scores.unflatten(1, (PHASES, self.classes)).log_softmax(2)
        return -self.classes * (logs.flatten(1, 2) * heart).mean()

    def shape(self, scores: Tensor) -> Tensor:
        """Return label maps (B, 2, *S) uint8 of scores."""
        return scores.unflatten(1, (PHASES, self.classes)).argmax(2).to(torch.uint8)

    # What it can do

    def complete(
        self, first: Tensor, covariates: Covariates, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """It encodes ED and ES together, so ES cannot be left to it.

        Raises:
            CompositionError: always.
        """
        raise CompositionError(
            "model=ageheart encodes ED and ES together and cannot complete a sequence from ED; use model=cheart."
        )

    @torch.no_grad()
    def generate(self, covariates: Covariates, *, generator: torch.Generator) -> Tensor:
        """Return hearts of z ~ U(−1, 1)^z with the given conditions, (B, 2, *S) uint8."""
        label = self.label(covariates)
        return self.shape(self.decode(prior(len(label), self.z_dim, generator).to(label), label))

    @torch.no_grad()
    def age(self, shape: Tensor, covariates: Covariates, later: Covariates) -> Tensor:
        """Return G(E(x), ℓ) with ℓ of the later conditions; those of now are not looked at."""
        return self.shape(self.decode(self.encode(self.heart(shape.to(self.device))), self.label(later)))

    @torch.no_grad()
    def identity(self, shape: Tensor) -> Tensor:
        """Return z, (B, z)."""
        return self.encode(self.heart(shape.to(self.device)))

    @torch.no_grad()
    def judged_group(self, shape: Tensor) -> Tensor:
        """Return the group of age, (B,), as the classifier inside has it; no evidence of ageing."""
        found: Tensor = self.classifier(self.heart(shape.to(self.device))).argmax(1)
        return found


def prior(count: int, z_dim: int, generator: torch.Generator) -> Tensor:
    """Return codes drawn from U(−1, 1), (count, z_dim)."""
    return 2 * torch.rand(count, z_dim, generator=generator, device=generator.device) - 1


def target_groups(group: Tensor, generator: torch.Generator) -> Tensor:
    """Return another group for each, uniformly one of the six others.

    Args:
        group: (B,) 0 to 6.
        generator: on the CPU.
    """
    steps = torch.randint(1, GROUPS, group.shape, generator=generator).to(group.device)
    return (group.long() + steps) % GROUPS


def at_group(covariates: Covariates, group: Tensor) -> dict[str, Tensor]:
    """Return the same covariates with an age in the middle of a group."""
    return {**covariates, "age_years": group_years(group)}


def known_groups(covariates: Covariates, cases: Sequence[str] = ()) -> Tensor:
    """Return the groups of age, (B,) int64.

    Raises:
        CompositionError: an unknown age.
    """
    group = age_group(covariates["age_years"])
    if group.isnan().any():
        who = [case for case, missing in zip(cases, group.isnan().tolist(), strict=False) if missing]
        raise CompositionError(
            f"The age of {', '.join(who) or 'some hearts'} is unknown, and the ageing heart learns from ages. Leave "
            "them out of the table of the data, or fill in age_years."
        )
    return group.long()


def refuse_other_frames(frames: int) -> None:
    """Refuse data that are not ED and ES.

    Raises:
        CompositionError: naming the option.
    """
    if frames != PHASES:
        raise CompositionError(
            f"Models of the ageing heart know ED and ES, and the data have {frames} frames: set data.phases=edes."
        )


def age_columns(conditions: Conditions) -> tuple[int, float]:
    """Return where in ℓ the code of the age begins, and the noise that it has in training.

    Raises:
        CompositionError: no age, or one that is not told by its group.
    """
    place = 0
    for name, condition in conditions.conditions.items():
        if name == "age_years":
            if isinstance(condition, AgeCode):
                return place, condition.noise_sd
            break
        place += condition.size
    raise CompositionError(
        "The ageing heart needs conditions.age_years, an AgeCode, since a target of ageing is one of its groups: use "
        "conditions=age_codes."
    )
