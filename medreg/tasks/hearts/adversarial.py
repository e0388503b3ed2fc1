"""Training of models of hearts whose frames a discriminator judges."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from medreg.errors import CompositionError
from medreg.losses.generative.adversarial import AdversarialLoss
from medreg.losses.generative.cheart import CHeartLoss
from medreg.models.hearts.adversarial import AdversarialModel
from medreg.models.hearts.encoder import one_hot
from medreg.tasks.base import Batch
from medreg.tasks.hearts.base import covariates_of
from medreg.tasks.hearts.generation import GenerationTask
from medreg.tasks.hearts.sequence_case import Evaluation
from medreg.tasks.hearts.volumes import VolumeDistance


class AdversarialTask(GenerationTask):
    """Train makers of hearts and their judge in turns, one step each a batch.

    The judge steps first, on real frames and on made ones that do not follow it; then the makers step on
    weight · (−log D(made)) + what `loss` says of reconstructions, where there are any. Logged: loss (of the makers) and
    its terms, adversarial, judge (its loss), and the balance of the two: `real_right` and `made_right`, the shares of
    frames that the judge knows; near 1 the makers learn nothing, at ½ the judge guesses.

    A model without reconstructions is validated by the volumes of new hearts beside those of real ones, see
    `VolumeDistance`.

    Args:
        model: makers and judge.
        loss: of reconstructions; it also says how many frames a step has.
        adversarial: both sides of the game.
        judge_optimiser: makes the judge's optimiser from its parameters.
        optimiser: makes that of the makers.
        evaluation: as in `ShapeTask`, like the rest.
    """

    model: AdversarialModel

    def __init__(
        self,
        model: AdversarialModel,
        loss: CHeartLoss,
        *,
        adversarial: AdversarialLoss,
        judge_optimiser: Callable[[Any], torch.optim.Optimizer],
        evaluation: Evaluation,
        optimiser: Callable[[Any], torch.optim.Optimizer] | None = None,
        scheduler: Callable[[torch.optim.Optimizer], Any] | None = None,
        name: str = "model",
        seed: int = 0,
    ) -> None:
        super().__init__(
            model, loss, evaluation=evaluation, optimiser=optimiser, scheduler=scheduler, name=name, seed=seed
        )
        self.automatic_optimization = False
        self.adversarial = adversarial
        self._judge_optimiser = judge_optimiser
        self._volumes = VolumeDistance(model.classes)

    def configure_optimizers(self) -> Any:
        """Return the optimisers of makers and judge, each with its schedule if there is one."""
        assert self._optimiser is not None
        both = [
            self._optimiser(list(self.model.makers())),
            self._judge_optimiser(list(self.model.discriminator.parameters())),
        ]
        schedules = [schedule for each in both if (schedule := self.schedule_of(each)) is not None]
        return (both, schedules) if schedules else both

    def on_fit_start(self) -> None:
        """Refuse several devices and scaled gradients, which the two optimisers do not share."""
        super().on_fit_start()
        if self.trainer.world_size > 1 or str(self.trainer.precision) == "16-mixed":
            raise CompositionError(
                "Makers and judge train on one device and not in half precision; set trainer.devices=1, "
                "trainer.precision=32-true or bf16-mixed."
            )

    def training_step(self, batch: Batch, batch_index: int) -> None:  # type: ignore[override]
        """Step the judge, then the makers.

        Raises:
            NumericalError: a loss is not finite.
        """
        shape: Tensor = batch["shape"]
        covariates = covariates_of(batch)
        drawn = self.loss.draw_frames(shape.shape[1], self.chance(batch_index, "frames"))
        frames = torch.arange(shape.shape[1]) if drawn is None else drawn
        output = self.model.reconstructed(shape, covariates, frames, self.chance(batch_index, "code"))
        scores = [] if output is None else [output.scores]
        if output is None or self.adversarial.judge_prior:
            noise = self.chance(batch_index, "prior")
            latent = torch.randn(len(shape), self.model.latent, generator=noise, device=noise.device)
            scores.append(self.model.decoded(latent.to(shape.device), covariates, frames))
        made = [self.adversarial.shown(each) for each in scores]
        makers, judge = self.optimizers(use_pl_optimizer=True)  # type: ignore[attr-defined]

        real = one_hot(shape[:, frames.to(shape.device)].flatten(0, 1), self.model.classes)
        real_odds = self.model.judge(real.unflatten(0, (len(shape), len(frames))), covariates)
        made_odds = [self.model.judge(each.detach(), covariates) for each in made]
        of_judge = self.adversarial.of_judge(real_odds, made_odds)
        self.check_finite(of_judge, batch)
        self._step(judge.optimizer, of_judge)  # not counted: `global_step` is the number of batches

        with self._judge_fixed():
            against = self.adversarial.of_makers([self.model.judge(each, covariates) for each in made])
            total, told = self.adversarial.weight * against, {"adversarial": against, "judge": of_judge}
            if output is not None:
                parts = self.loss(output, shape, epoch=self.current_epoch)
                total = total + parts.loss
                told |= {name: value for name, value in self._told(parts, output).items() if name != "loss"}
            self.check_finite(total, batch)
            self._step(makers, total)
        right = {"real_right": _share(real_odds > 0), "made_right": _share(torch.stack(made_odds) < 0)}
        values = {"loss": total, **told, **right}
        self.train_means.add({name: value.detach() for name, value in values.items()}, size=len(shape))

    def _step(self, optimiser: Any, loss: Tensor) -> None:
        optimiser.zero_grad()
        self.manual_backward(loss)
        optimiser.step()

    @contextmanager
    def _judge_fixed(self) -> Iterator[None]:
        """The judge gets no gradients of the makers' loss."""
        self.model.discriminator.requires_grad_(False)
        try:
            yield
        finally:
            self.model.discriminator.requires_grad_(True)

    def on_train_epoch_end(self) -> None:
        """Step the schedules, which Lightning leaves to whoever steps the optimisers."""
        found: Any = self.lr_schedulers() or []
        for each in found if isinstance(found, Sequence) else [found]:
            each.step()

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Accumulate the loss of one heart, or the volumes of it and of a new one at its conditions."""
        if self.model.completes:
            super().validation_step(batch, batch_index)
            return
        noise = torch.Generator(self.device).manual_seed(self.seed + batch_index)
        self._volumes.add(batch["shape"], self.model.generate(covariates_of(batch), generator=noise))

    def on_validation_epoch_end(self) -> None:
        """Log what was accumulated."""
        super().on_validation_epoch_end()
        if len(self._volumes):
            self.log("val/loss", self._volumes.take())


def _share(right: Tensor) -> Tensor:
    return right.float().mean()
