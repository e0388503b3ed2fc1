"""Training the ageing heart: three optimisers, each with a graph of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from medreg.errors import CompositionError, require_number
from medreg.losses.generative.ageing import AgeingLoss
from medreg.metrics.overlap import joint_histogram
from medreg.models.hearts.ageheart import AgeHeart, known_groups
from medreg.tasks.base import Batch
from medreg.tasks.hearts.ageing_terms import (
    Terms,
    Told,
    classifier_terms,
    generator_terms,
    image_terms,
    latent_terms,
    told_of,
)
from medreg.tasks.hearts.base import ShapeTask
from medreg.tasks.hearts.sequence_case import Evaluation
from medreg.tasks.moment import chance


class AgeingTask(ShapeTask):
    """Train an ageing heart and evaluate it heart by heart.

    A step: encoder, generator and mapping descend their loss, and the classifier of ages its own on real hearts, with
    one optimiser; then the latent critic; then the discriminator. Targets, noise and uniform codes of a step follow
    from seed, epoch and number of the batch, so that a resumed training is bit-identical on a CPU.

    Validation has no noise and no adversary: val/loss is rec·L_rec + cyc·L_cyc + λ_age (L_age + L_age,target), and is
    there only once λ_age has grown to its end, so that the best checkpoint is one that was asked to age.

    Source: Qiao et al., STACOM 2022; order of the steps from Train_AgeHeart.py.

    Args:
        model: the ageing heart.
        loss: weights, and which gradients flow.
        evaluation: scores one case.
        optimiser: makes each of the three optimisers.
        scheduler: of each, stepped every epoch.
        clip_norm: of the gradients of each network group; None: no limit.
        seed: of what a step draws.
        name: of the method.
    """

    model: AgeHeart
    requires: ClassVar[frozenset[str]] = frozenset({"shape", "covariates", "case"})
    clipping: ClassVar[str] = "task.clip_norm=1.0"

    def __init__(
        self,
        model: AgeHeart,
        loss: AgeingLoss,
        *,
        evaluation: Evaluation,
        optimiser: Callable[[Any], torch.optim.Optimizer],
        scheduler: Callable[[torch.optim.Optimizer], Any] | None = None,
        clip_norm: float | None = None,
        seed: int = 0,
        name: str = "ageheart",
    ) -> None:
        super().__init__(
            model, evaluation=evaluation, optimiser=optimiser, scheduler=scheduler, name=name, seed=seed
        )
        if clip_norm is not None:
            require_number("task.clip_norm", clip_norm, above=0)
        self.automatic_optimization = False
        self.loss, self.clip_norm, self._make = loss, clip_norm, optimiser

    def configure_optimizers(self) -> Any:
        """Return an optimiser for encoder, generator, mapping and classifier, one for each critic."""
        each = [self._make(parameters) for parameters in self.groups()]
        schedules = [schedule for one in each if (schedule := self.schedule_of(one)) is not None]
        return (each, schedules) if schedules else each

    def on_fit_start(self) -> None:
        """Refuse several devices and scaled gradients, which three optimisers do not share."""
        super().on_fit_start()
        if self.trainer.world_size > 1 or str(self.trainer.precision) == "16-mixed":
            raise CompositionError(
                "The networks of the ageing heart train on one device and not in half precision; set "
                "trainer.devices=1, trainer.precision=32-true or bf16-mixed."
            )

    def groups(self) -> tuple[list[nn.Parameter], list[nn.Parameter], list[nn.Parameter]]:
        """Parameters of the first optimiser, of the latent critic, of the discriminator."""
        latent, image = (
            list(part.parameters()) for part in (self.model.latent_critic, self.model.image_critic)
        )
        judges = {id(parameter) for parameter in (*latent, *image)}
        first = [p for p in self.model.parameters() if id(p) not in judges]
        return first, latent, image

    def training_step(self, batch: Batch, batch_index: int) -> None:
        """Step all networks on a batch."""
        drawn = chance(self.seed, self.step_number(batch_index), self.global_rank, stream="ageing")
        known_groups(batch["covariates"], batch["case"])
        told = told_of(self.model, batch["shape"], batch["covariates"], drawn, noisy=True)
        try:
            self._descend(told, batch)
        except ValueError as error:
            raise _too_few(error, len(batch["shape"])) from error

    def _descend(self, told: Told, batch: Batch) -> None:
        age = self.loss.age_at(self.current_epoch)
        first, latent, image = self.optimizers()  # type: ignore[attr-defined]
        generated, made = generator_terms(self.model, self.loss, told, age=age)
        parts = [generated]
        first.zero_grad()
        self.manual_backward(generated.loss)
        if self.loss.switches.from_real and self.loss.age > 0:
            parts.append(classifier_terms(self.model, told))
            self.manual_backward(parts[-1].loss)
        self._step(first, 0)
        for optimiser, place, terms in (
            (latent, 1, lambda: latent_terms(self.model, told, made)),
            (image, 2, lambda: image_terms(self.model, self.loss, told, made)),
        ):
            if place == 2 and self.loss.gi == 0:
                continue
            parts.append(terms())
            optimiser.zero_grad()
            self.manual_backward(parts[-1].loss)
            self._step(optimiser, place)
        self.check_finite(torch.stack([part.loss.detach() for part in parts]).sum(), batch)
        self._note(parts, age, len(told.heart))

    def _step(self, optimiser: Any, place: int) -> None:
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.groups()[place], self.clip_norm)
        optimiser.step()

    def _note(self, parts: list[Terms], age: float, size: int) -> None:
        values = {name: value for terms in parts for name, value in terms.parts.items()}
        weight = torch.tensor(age, device=self.device)
        self.train_means.add({"loss": parts[0].loss, **values, "age_weight": weight}, size=size)

    def on_train_epoch_end(self) -> None:
        """Step the schedules, which Lightning leaves to a task with several optimisers."""
        schedules = self.lr_schedulers()
        for schedule in schedules if isinstance(schedules, list) else [schedules]:
            if schedule is not None:
                schedule.step()

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Accumulate losses and Dice of the reconstruction of one case."""
        drawn = chance(self.seed, *batch["case"][0].encode(), stream="/ageing")
        told = told_of(self.model, batch["shape"], batch["covariates"], drawn, noisy=False)
        terms, _ = generator_terms(self.model, self.loss, told, age=self.loss.age)
        parts = terms.parts
        asked = [parts[name] for name in ("age", "age_target") if name in parts]
        total = self.loss.rec * parts["rec"] + self.loss.cyc * parts.get(
            "cyc", torch.zeros_like(parts["rec"])
        )
        total = total + self.loss.age * sum(asked, start=torch.zeros_like(total))
        found = self.model.reconstruct(batch["shape"], batch["covariates"])
        shown: dict[str, Tensor] = {
            name: parts[name] for name in ("rec", "cyc", "age", "age_target") if name in parts
        }
        if self.loss.settled(self.current_epoch):
            shown["loss"] = total
        dice = mean_dice(batch["shape"], found.to(batch["shape"]), self.model.classes - 1)
        self.add_validation(dice_mean=dice, **shown)


def mean_dice(truth: Tensor, found: Tensor, structures: int) -> Tensor:
    """Return the mean Dice over structures and frames, of those that the truth shows.

    Args:
        truth: (B, T, *S) uint8.
        found: (B, T, *S) uint8.
        structures: L.
    """
    counts = joint_histogram(truth.flatten(0, 1).long(), found.flatten(0, 1).long(), structures).double()
    both = counts.diagonal(dim1=1, dim2=2)
    dice = 2 * both / (counts.sum(1) + counts.sum(2))
    return dice[:, 1:][counts.sum(2)[:, 1:] > 0].mean()


def _too_few(error: ValueError, count: int) -> Exception:
    """Say what a batch of one does to batch normalisation."""
    if "more than 1 value per channel" not in str(error):
        return error
    return CompositionError(
        f"The critics of the ageing heart have batch normalisation, which cannot train on a batch of {count}: set "
        "data.loader.batch_size=2 or more, with data.loader.drop_last=true so that no batch of one is left over."
    )
