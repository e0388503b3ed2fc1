"""The weights of the ageing heart's loss, and the switches between what was released and what was meant."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from medreg.errors import ConfigError, require_choice, require_number, require_whole

CHOICES = {
    "mode": ("intended", "released"),
    "classifier_learns_from": ("real", "generated", "both"),
    "real_wrong_label": ("none", "negative", "positive"),
}
WEIGHTS = ("rec", "ez", "gi", "age", "cyc", "dit")
# What each mode presets; the released values are those of Train_AgeHeart.py.
INTENDED = {
    "encoder_learns": True,
    "generator_adversarial": True,
    "target_adversarial": True,
    "classifier_learns_from": "real",
    "classifier_held": True,
    "real_wrong_label": "none",
    "target_age_needs_dit": False,
}
RELEASED = {
    "encoder_learns": False,
    "generator_adversarial": False,
    "target_adversarial": False,
    "classifier_learns_from": "generated",
    "classifier_held": False,
    "real_wrong_label": "positive",
    "target_age_needs_dit": True,
}


@dataclass(frozen=True)
class Switches:
    """What flows where in a step; each may be set by itself, a mode is one choice of all of them.

    Attributes:
        encoder_learns: whether gradients reach the encoder; released: its code is detached everywhere.
        generator_adversarial: whether the discriminator's judgement reaches encoder and generator; released: it judges
            a detached copy.
        target_adversarial: whether hearts of the target age must look real too (ours).
        classifier_learns_from: the hearts that the classifier of ages learns from; released: generated ones only.
        classifier_held: whether it keeps still while the generator follows it; released: both learn together.
        real_wrong_label: what the discriminator is told of a real heart with a wrong age: nothing, that it is made, or
            (released) that it is real.
        target_age_needs_dit: whether the target age is asked for only where `dit` is above 0, as released.
    """

    encoder_learns: bool
    generator_adversarial: bool
    target_adversarial: bool
    classifier_learns_from: Literal["real", "generated", "both"]
    classifier_held: bool
    real_wrong_label: Literal["none", "negative", "positive"]
    target_age_needs_dit: bool

    @property
    def from_real(self) -> bool:
        """Whether the classifier learns from real hearts."""
        return self.classifier_learns_from in ("real", "both")

    @property
    def from_generated(self) -> bool:
        """Whether the classifier learns from generated hearts: in the generator's step, as released."""
        return self.classifier_learns_from in ("generated", "both")


class AgeingLoss:
    """Weights of the terms of the ageing heart, and which gradients they send where.

    L = rec·L_rec + ez·L_Ez + gi·(L_Gi + dit·L_Gi,target) + age·(L_age + L_age,target) + cyc·L_cyc;
    `dit` also weighs the target age in the discriminator's own loss.

    Source: Qiao et al., STACOM 2022; released code, Train_AgeHeart.py.

    Args:
        mode: `intended` or `released`: presets every switch that is None.
        rec: weight of the reconstruction.
        ez: of the code's likeness to U(−1, 1), as the latent critic has it.
        gi: of the likeness to real hearts, as the discriminator has it.
        age: λ_age, in the end.
        cyc: of the way there and back.
        dit: of the target age in adversarial terms.
        age_after_epoch: epochs with λ_age = 0 at the start, so that hearts are there before their ages are asked for.
        age_ramp_epochs: over which λ_age then grows linearly.
        classifier_shift: voxels by which hearts are moved in the plane at most, another way in every step, where the
            classifier learns from real ones (ours): it has few, and what it knows by heart misleads the generator.
        **switches: see `Switches`; None: as the mode has it.

    Raises:
        ConfigError: an unknown switch or choice, or a weight below 0.
    """

    def __init__(
        self,
        *,
        mode: str,
        rec: float,
        ez: float,
        gi: float,
        age: float,
        cyc: float,
        dit: float,
        age_after_epoch: int,
        age_ramp_epochs: int,
        classifier_shift: int,
        **switches: str | bool | None,
    ) -> None:
        require_choice("loss.mode", mode, CHOICES["mode"])
        self.mode = mode
        self.rec, self.ez, self.gi, self.age, self.cyc, self.dit = rec, ez, gi, age, cyc, dit
        for name in WEIGHTS:
            require_number(f"loss.{name}", getattr(self, name), least=0)
        require_whole("loss.age_after_epoch", age_after_epoch, 0)
        require_whole("loss.age_ramp_epochs", age_ramp_epochs, 0)
        require_whole("loss.classifier_shift", classifier_shift, 0)
        self.age_after_epoch, self.age_ramp_epochs = age_after_epoch, age_ramp_epochs
        self.classifier_shift = classifier_shift
        self.switches = switches_of(mode, switches)
        learned_from_made = not self.switches.classifier_held
        if self.switches.from_generated != learned_from_made:
            raise ConfigError(
                f"loss.classifier_learns_from={self.switches.classifier_learns_from} with "
                f"loss.classifier_held={str(self.switches.classifier_held).lower()}: a classifier learns from "
                "generated hearts in the generator's step, so it is held where it learns from real ones only, and not "
                "held otherwise."
            )

    def age_at(self, epoch: int) -> float:
        """λ_age in an epoch from 0: nothing, then growing, then `age`."""
        past = epoch - self.age_after_epoch
        if past < 0:
            return 0.0
        return self.age * min(1.0, (past + 1) / (self.age_ramp_epochs + 1))

    def settled(self, epoch: int) -> bool:
        """Whether λ_age has grown to its end in an epoch from 0."""
        return epoch >= self.age_after_epoch + self.age_ramp_epochs


def switches_of(mode: str, given: dict[str, str | bool | None]) -> Switches:
    """Return the switches of a mode, some of them set otherwise.

    Raises:
        ConfigError: an unknown name, or a value that it cannot have.
    """
    preset = dict(INTENDED if mode == "intended" else RELEASED)
    known = [field.name for field in fields(Switches)]
    for name, value in given.items():
        require_choice("a switch of loss", name, known)
        if value is None:
            continue
        require_choice(f"loss.{name}", value, CHOICES.get(name, (True, False)))
        preset[name] = value
    return Switches(**preset)  # type: ignore[arg-type]
