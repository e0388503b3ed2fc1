"""The terms of a step of the ageing heart, each network's with a graph of its own."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from medreg.losses.generative.ageing import AgeingLoss
from medreg.losses.generative.critics import accuracy, says_made, says_real
from medreg.models.hearts.ageheart import AgeHeart, at_group, known_groups, prior, target_groups
from medreg.models.hearts.ageheart_critics import held
from medreg.models.hearts.conditions import Covariates


@dataclass(frozen=True)
class Told:
    """What a step knows of its hearts.

    Attributes:
        heart: x, (B, 2·(L + 1), *S).
        label: ℓ_a, (B, n), of their own age.
        group: a, (B,).
        target_label: ℓ_b, (B, n), of another age and the same sex.
        target: b, (B,), never a.
        uniform: u, (B, z), drawn from U(−1, 1).
    """

    heart: Tensor
    label: Tensor
    group: Tensor
    target_label: Tensor
    target: Tensor
    uniform: Tensor


@dataclass(frozen=True)
class Made:
    """What the generator's step has made, without gradients, for the critics' own steps.

    Attributes:
        code: z.
        own: x̂ as critics see it.
        aged: x̃ as critics see it; None where no term needs it.
    """

    code: Tensor
    own: Tensor
    aged: Tensor | None


@dataclass(frozen=True)
class Terms:
    """A loss and the terms that it is made of, unweighted, each a number."""

    loss: Tensor
    parts: dict[str, Tensor]


def told_of(
    model: AgeHeart, shape: Tensor, covariates: Covariates, generator: torch.Generator, *, noisy: bool
) -> Told:
    """Draw targets, noise of codes and uniform codes for a batch, from one generator.

    Args:
        model: whose codes of age they are.
        shape: (B, 2, *S).
        covariates: name → (B,).
        generator: on the CPU.
        noisy: whether codes have their noise, as in training.
    """
    group = known_groups(covariates)
    target = target_groups(group, generator)
    noise = generator if noisy else None
    heart = model.heart(shape)
    return Told(
        heart=heart,
        label=model.label(covariates, generator=noise),
        group=group.to(heart.device),
        target_label=model.label(at_group(covariates, target), generator=noise),
        target=target.to(heart.device),
        uniform=prior(len(shape), model.z_dim, generator).to(heart),
    )


def generator_terms(model: AgeHeart, loss: AgeingLoss, told: Told, *, age: float) -> tuple[Terms, Made]:
    """L of encoder, generator and mapping; critics are held, and the classifier where it is to be.

    Args:
        model: all networks.
        loss: weights and switches.
        told: the batch.
        age: λ_age now.
    """
    switches = loss.switches
    code = model.encode(told.heart)
    flowing = code if switches.encoder_learns else code.detach()
    scores = model.decode(flowing, told.label)
    own = model.made(scores)
    parts = {"rec": model.difference(scores, told.heart)}
    total = loss.rec * parts["rec"]
    aged = None
    if age > 0 or loss.cyc > 0 or loss.dit > 0:
        aged = model.made(model.decode(flowing, told.target_label))
    with gradients(switches.encoder_learns), held(model.latent_critic):
        parts["ez"] = says_real(model.latent_critic(code, told.label))
    total = total + loss.ez * parts["ez"]
    if loss.gi > 0:
        judged = _looks_real(model, loss, told, own, aged)
        total = total + loss.gi * (judged["gi"] + loss.dit * judged.get("gi_target", 0.0))
        parts |= judged
    if age > 0:
        asked = age_terms(model, loss, told, own, aged)
        total = total + age * sum(asked.values(), start=torch.zeros_like(total))
        parts |= asked
    if loss.cyc > 0 and aged is not None:
        back = model.encode(aged, made=True)
        back = back if switches.encoder_learns else back.detach()
        parts["cyc"] = model.difference(model.decode(back, told.label), told.heart)
        total = total + loss.cyc * parts["cyc"]
    made = Made(code.detach(), own.detach(), None if aged is None else aged.detach())
    return Terms(total, parts), made


def _looks_real(
    model: AgeHeart, loss: AgeingLoss, told: Told, own: Tensor, aged: Tensor | None
) -> dict[str, Tensor]:
    """How far made hearts are from looking real."""
    switches = loss.switches
    found = {}
    with gradients(switches.generator_adversarial), held(model.image_critic):
        found["gi"] = says_real(model.image_critic(own, told.label))
        if switches.target_adversarial and loss.dit > 0 and aged is not None:
            found["gi_target"] = says_real(model.image_critic(aged, told.target_label))
    return found


def gradients(wanted: bool) -> torch.set_grad_enabled:
    """Let gradients flow within, if they are wanted and flow without."""
    return torch.set_grad_enabled(wanted and torch.is_grad_enabled())


def age_terms(
    model: AgeHeart, loss: AgeingLoss, told: Told, own: Tensor, aged: Tensor | None
) -> dict[str, Tensor]:
    """How far made hearts are from looking as old as they should, as the classifier has it."""
    switches = loss.switches
    with held(model.classifier, still=True) if switches.classifier_held else nullcontext():
        found = {"age": cross_entropy(model.classifier(own), told.group)}
        if aged is not None and (loss.dit > 0 or not switches.target_age_needs_dit):
            found["age_target"] = cross_entropy(model.classifier(aged), told.target)
    return found


def classifier_terms(model: AgeHeart, told: Told) -> Terms:
    """CE(C(x), a) of real hearts."""
    logits = model.classifier(told.heart)
    found = cross_entropy(logits, told.group)
    right = (logits.argmax(1) == told.group).float().mean()
    return Terms(found, {"classifier": found, "classifier_accuracy": right.detach()})


def latent_terms(model: AgeHeart, told: Told, made: Made) -> Terms:
    """L_Dz = BCE⁺(D_z(u)) + BCE⁻(D_z(z)), 2 ln 2 for a critic that knows nothing."""
    uniform = model.latent_critic(told.uniform, told.label)
    coded = model.latent_critic(made.code, told.label)
    found = says_real(uniform) + says_made(coded)
    return Terms(found, {"dz": found, "dz_accuracy": accuracy(uniform, coded)})


def image_terms(model: AgeHeart, loss: AgeingLoss, told: Told, made: Made) -> Terms:
    """L_Di: real hearts, made ones, and with weight `dit` those of the target age."""
    real = model.image_critic(told.heart, told.label)
    own = model.image_critic(made.own, told.label)
    found = says_real(real) + says_made(own)
    if loss.dit > 0 and made.aged is not None:
        of_target = says_made(model.image_critic(made.aged, told.target_label))
        if loss.switches.real_wrong_label != "none":
            wrong = model.image_critic(told.heart, told.target_label)
            says = says_real if loss.switches.real_wrong_label == "positive" else says_made
            of_target = of_target + says(wrong)
        found = found + loss.dit * of_target
    return Terms(found, {"di": found, "di_accuracy": accuracy(real, own)})
