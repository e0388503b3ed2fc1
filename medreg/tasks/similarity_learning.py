"""Learning a similarity from pairs that it registers itself: fit every pair, then contrast the fixed image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from medreg.errors import CompositionError
from medreg.inference.level import LevelImages, full_images
from medreg.inference.posterior import PosteriorEnergy
from medreg.losses.energy import Energy
from medreg.losses.regularisation.none import NoRegularisation
from medreg.metrics.evaluator import CaseEvaluator
from medreg.metrics.runtime import RuntimeMeter
from medreg.models.learned_similarity import SimilarityRegistration
from medreg.tasks.base import Batch
from medreg.tasks.contrast import Contrast, FixedImages
from medreg.tasks.draws import generator_of
from medreg.tasks.kept import KeptTensors
from medreg.tasks.registration import RegistrationTask
from medreg.tasks.results import CaseResult, cost_rows

BASELINE = "baseline"  # the same registration under the measure of the images as they are


class SimilarityLearningTask(RegistrationTask):
    """Learn the encoder of a similarity, alternating over batches of pairs.

    1. q(w) of every pair is fitted under the present similarity, from where its last visit ended.
    2. With one w of q and a mirrored pair f₁, f₂ of q_f = N(F, diag σ_f² + u_f u_fᵀ), one step of the encoder and of
       σ_f, u_f down E(F, M∘φ_w) − ½ [E(f₁, M∘φ_w) + E(f₂, M∘φ_w)], E the energy of the data: the fixed image is to be
       more probable than what it might have been.

    q_f belongs to a fixed image, so that with one template there is one, as in the paper, and with pairs of different
    people there is one each (ours). Validation and test register every pair from the start; the test scores the measure
    without encoder beside it, as method "baseline".

    Source: Grzech et al., CVPR 2022, and the released trainer.

    Args:
        model: registers, and holds the similarity.
        contrast: how q_f starts and moves.
        keep: folder for q and q_f of every pair where memory is short, see `KeptTensors`; None puts them into the
            checkpoints.
        seed: of samples; those of a step depend on it, the epoch and the number of the batch only.
        evaluator: as in `RegistrationTask`, like optimiser, scheduler, name and use_masks.

    Raises:
        CompositionError: several devices, or training data without names of images.
    """

    model: SimilarityRegistration
    requires: ClassVar[frozenset[str]] = RegistrationTask.requires | {"fixed_id", "moving_id", "slice_index"}

    def __init__(
        self,
        model: SimilarityRegistration,
        *,
        contrast: Contrast,
        keep: str | None,
        seed: int,
        evaluator: CaseEvaluator,
        optimiser: Callable[[Any], torch.optim.Optimizer] | None = None,
        scheduler: Callable[[torch.optim.Optimizer], Any] | None = None,
        name: str = "model",
        use_masks: bool = True,
    ) -> None:
        super().__init__(
            model,
            Energy(model.similarity, NoRegularisation(weight=0.0)),
            evaluator=evaluator,
            optimiser=optimiser,
            scheduler=scheduler,
            name=name,
            use_masks=use_masks,
        )
        self.contrast, self.seed = contrast, seed
        self.kept = KeptTensors(keep)
        self._moved: list[tuple[str, FixedImages]] = []

    def on_fit_start(self) -> None:
        """Refuse several devices: what is kept of a pair would be known to one of them only."""
        if self.trainer.world_size > 1:
            raise CompositionError("task=similarity trains on one device; use trainer.devices=1.")

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Fit the pairs of a batch and return the contrast of their fixed images, a mean over pairs."""
        chance = generator_of(self.seed, self.global_rank, self.current_epoch, batch_index)
        seed = int(torch.randint(2**31, (), generator=chance))
        images = self._images(batch)
        energy = self.model.posterior(images, seed=seed)
        keys = [
            f"pair {pair}"
            for pair in zip(*(batch[key] for key in ("fixed_id", "moving_id")), _slices(batch), strict=True)
        ]
        fit = self.model.fitted(energy, seed=seed, earlier=[self.kept.get(key) for key in keys])
        for key, part in zip(keys, fit.parts(), strict=True):
            self.kept.put(key, part)
        with torch.no_grad():
            latent = fit.sample(torch.Generator(self.device).manual_seed(seed))
            warped = energy.evaluate(latent).warped
        loss = self._contrasted(batch, energy, warped, chance)
        self.check_finite(loss, batch)
        self.train_means.add({"loss": loss, "bound": fit.history[-1].mean()}, size=len(keys))
        return loss.float()

    def _contrasted(
        self, batch: Batch, energy: PosteriorEnergy, warped: Tensor, chance: torch.Generator
    ) -> Tensor:
        """E(F) − ½ [E(f₁) + E(f₂)], the mean over pairs; a fixed image that occurs twice is drawn once."""
        images, drawn = energy.images, {}
        keys = [f"fixed {fixed}" for fixed in zip(batch["fixed_id"], _slices(batch), strict=True)]
        for number, key in enumerate(keys):
            if key not in drawn:
                fixed = images.fixed[number : number + 1]
                drawn[key] = FixedImages(fixed, contrast=self.contrast, kept=self.kept.get(key))
        self._moved = list(drawn.items())
        both = {key: each.pair(chance) for key, each in drawn.items()}
        one, two = (torch.cat([both[key][side] for key in keys]) for side in (0, 1))

        def data(fixed: Tensor) -> Tensor:
            value: Tensor = energy.likelihood(warped, fixed, mask=images.fixed_mask)
            return value

        return (data(images.fixed) - 0.5 * (data(one) + data(two))).mean()

    def on_after_backward(self) -> None:
        """Step every q_f of the batch; the optimiser steps the encoder."""
        for key, each in self._moved:
            each.step()
            self.kept.put(key, each.tensors())
        self._moved = []

    def test_step(self, batch: Batch, batch_index: int) -> CaseResult:  # type: ignore[override]
        """Score one case: unregistered, under the measure without encoder, and under the learned one."""
        result = super().test_step(batch, batch_index)
        with RuntimeMeter(self.device) as meter:
            plain = self.register(batch, draws=0, similarity=self.model.similarity.plain())
            displacement = plain.displacement
        rows = [*self.evaluator(batch, displacement), *cost_rows(meter.usage)]
        names = list(result.rows)
        return replace(
            result, rows={names[0]: result.rows[names[0]], BASELINE: rows, self.name: result.rows[self.name]}
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what is kept of every pair."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["kept"] = self.kept.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with what was kept of every pair."""
        self.kept.load_state(checkpoint["kept"])

    def _images(self, batch: Batch) -> LevelImages:
        masks = self._masks(batch)
        return full_images(
            batch["fixed_image"],
            batch["moving_image"],
            batch.get("spacing_mm"),
            masks["fixed_mask"],
            masks["moving_mask"],
        )


def _slices(batch: Batch) -> list[int]:
    found: list[int] = batch["slice_index"].tolist()
    return found
