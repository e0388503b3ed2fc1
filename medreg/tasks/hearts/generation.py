"""Training of models that generate hearts over the cycle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from medreg.losses.generative.cheart import CHeartLoss, LossParts
from medreg.losses.generative.divergence import active_dimensions, equivalent_beta, gaussian_divergence
from medreg.metrics.rows import row
from medreg.models.hearts.base import SequenceOutput, ShapeModel
from medreg.tasks.base import Batch
from medreg.tasks.hearts.base import ShapeTask, covariates_of
from medreg.tasks.hearts.sequence_case import Evaluation
from medreg.tasks.results import CaseResult

ACTIVE = 0.05  # variance of μ over hearts above which a latent dimension counts as used


class GenerationTask(ShapeTask):
    """Train a variational model of sequences; validate it with the mean code and all frames.

    Logged: loss, ce (nats a voxel), kl (nats, before β), in training `beta`, in validation `active_dimensions`, the
    latent dimensions that are used. `val/loss` has the full β, so that it chooses the checkpoint alike in all epochs.

    Args:
        model: `model(shape, covariates, frames=, generator=)` gives a `SequenceOutput`.
        loss: of it.
        evaluation: as in `ShapeTask`, like the rest.
    """

    def __init__(
        self,
        model: ShapeModel,
        loss: CHeartLoss,
        *,
        evaluation: Evaluation,
        optimiser: Callable[[Any], torch.optim.Optimizer] | None = None,
        scheduler: Callable[[torch.optim.Optimizer], Any] | None = None,
        name: str = "model",
        seed: int = 0,
    ) -> None:
        super().__init__(
            model, evaluation=evaluation, optimiser=optimiser, scheduler=scheduler, name=name, seed=seed
        )
        self.loss = loss
        self._moments: list[Tensor] = []

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Return the loss of one batch, of all frames or of some that are drawn.

        Raises:
            NumericalError: it is not finite.
        """
        shape: Tensor = batch["shape"]
        frames = self.loss.draw_frames(shape.shape[1], self.chance(batch_index, "frames"))
        output: SequenceOutput = self.model(
            shape, covariates_of(batch), frames=frames, generator=self.chance(batch_index, "code")
        )
        parts: LossParts = self.loss(output, shape, epoch=self.current_epoch)
        self.check_finite(parts.loss, batch)
        self.train_means.add(self._told(parts, output), size=len(shape))
        return parts.loss

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Accumulate the terms of the loss of one heart, and its code."""
        output: SequenceOutput = self.model(batch["shape"], covariates_of(batch))
        self.add_validation(**self._told(self.loss(output, batch["shape"]), output))
        if output.mean is not None and output.log_variance is not None:
            mean = output.mean.detach().double()
            count = torch.full_like(mean[:1], len(mean))
            self._moments.append(
                torch.cat([count, mean.sum(0, keepdim=True), mean.square().sum(0, keepdim=True)])
            )

    def on_validation_epoch_end(self) -> None:
        """Log the means, and the number of latent dimensions that are used."""
        super().on_validation_epoch_end()
        if not self._moments:
            return
        sums = torch.stack(self._moments).sum(0)
        self._moments = []
        count, total, squares = self.trainer.strategy.reduce(sums, reduce_op="sum").unbind(0)
        variance = squares / count - (total / count).square()
        self.log("val/active_dimensions", float(active_dimensions(variance, ACTIVE)))

    def test_step(self, batch: Batch, batch_index: int) -> CaseResult:  # type: ignore[override]
        """Score one heart; where its code has a distribution, `code_kl` and β* (`equivalent_beta`) are rows too."""
        result = super().test_step(batch, batch_index)
        if not self.model.completes:  # no code that belongs to a heart
            return result
        frames, size = batch["shape"].shape[1], batch["shape"].shape[2:]
        output = self.model(batch["shape"], covariates_of(batch), frames=torch.arange(min(2, frames)))
        if output.mean is None or output.log_variance is None or self.name not in result.rows:
            return result
        kind = self.loss.kl_reduction
        kl = float(gaussian_divergence(output.mean, output.log_variance, reduction=kind))
        if len(output.mean) > len(batch["shape"]):  # a code a frame: the bound of a frame
            frames = 1
        star = equivalent_beta(
            self.loss.beta, frames=frames, size=size, latent=output.mean.shape[1], reduction=kind
        )
        further = [row("all", "code_kl", kl), row("all", "equivalent_beta", star)]
        return replace(result, rows={**result.rows, self.name: [*result.rows[self.name], *further]})

    def _told(self, parts: LossParts, output: SequenceOutput) -> dict[str, Tensor]:
        """The terms that this model has."""
        told = {"loss": parts.loss, "ce": parts.ce}
        if output.log_variance is not None:
            told["kl"] = parts.kl
        if output.penalty is not None:
            told["roughness"] = parts.penalty
        return {name: value.detach() for name, value in told.items()}
