"""Pairwise registration: the energy is the loss, the model is its solver."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from medreg.augmentation.pairs import PairAugmentation, PairEnergies, pair_augmentation
from medreg.augmentation.training import TrainingAugmentation
from medreg.errors import CompositionError
from medreg.geometry.warp import warp, warp_labels
from medreg.inference.registration import Registration
from medreg.losses.energy import Energy, EnergyValue
from medreg.metrics.evaluator import CaseEvaluator
from medreg.metrics.overlap import dice
from medreg.metrics.rows import MetricRow
from medreg.metrics.runtime import RuntimeMeter
from medreg.models.asking import ask, masks_of
from medreg.models.base import RegistrationModel
from medreg.models.sampling import without_samples
from medreg.tasks.base import Batch, Task
from medreg.tasks.results import UNREGISTERED, CaseResult, case_arrays, cost_rows


class RegistrationTask(Task):
    """Train a registration model on an energy and evaluate it per case.

    Args:
        model: predicts, unrolls or optimises a deformation.
        energy: similarity plus regularisation; the training loss, and what refinement minimises.
        evaluator: scores one case.
        optimiser: as in `Task`, like scheduler and name.
        refine: instance optimisation that starts from the model's answer, at test time.
        use_masks: compare images within their masks only, where the data have any.
        augmentation: random or adversarial chains on which each pair is trained once more; None or one that does
            nothing: pairs as they are.

    Raises:
        CompositionError: an augmentation that is of labelled images only, or a model that is not trained.
    """

    model: RegistrationModel
    requires: ClassVar[frozenset[str]] = frozenset({"fixed_image", "moving_image", "case"})
    sections = (*Task.sections, "medreg.reporting.pair_pictures.cases")

    def __init__(
        self,
        model: RegistrationModel,
        energy: Energy,
        *,
        evaluator: CaseEvaluator,
        optimiser: Callable[[Any], torch.optim.Optimizer] | None = None,
        scheduler: Callable[[torch.optim.Optimizer], Any] | None = None,
        refine: RegistrationModel | None = None,
        name: str = "model",
        use_masks: bool = True,
        augmentation: TrainingAugmentation | None = None,
    ) -> None:
        super().__init__(model, evaluator=evaluator, optimiser=optimiser, scheduler=scheduler, name=name)
        self.energy = energy
        self.refine = refine or None
        self.use_masks = use_masks
        self.pairs = self._pairs(augmentation)

    def register(self, batch: Batch, **context: Any) -> Registration:
        """Return the model's answer to a batch; `context` is what only some models take, such as `listeners`."""
        return ask(self.model, batch, use_masks=self.use_masks, **context)

    def _masks(self, batch: Batch) -> dict[str, Tensor | None]:
        return masks_of(batch, use_masks=self.use_masks)

    def loss(self, batch: Batch, registration: Registration) -> EnergyValue:
        """Return the energy of an answer, and the term of the model's own where it has one.

        Raises:
            NumericalError: the energy is not finite; names the cases.
        """
        value = self.energy(
            batch["fixed_image"],
            batch["moving_image"],
            registration.deformation,
            spacing_mm=batch.get("spacing_mm"),
            **self._masks(batch),
        )
        value = replace(value, divergence=registration.divergence)
        self.check_finite(value.total, batch)
        return value

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Return the energy of one batch, and keep it and its two parts for the means of the epoch."""
        again = self.transformed(
            batch, batch_index, lambda seen, compared: self.loss(compared, self.register(seen)).energies
        )
        value = self.loss(batch, self.register(batch))
        parts = {
            "loss": value.total if again is None else value.total + again,
            "similarity": value.similarity.mean(),
            "regularisation": value.regularisation.mean(),
        }
        if value.divergence is not None:
            parts["divergence"] = value.divergence.mean()
        if again is not None:
            parts["transformed"] = again
        self.train_means.add({**parts, **self.model.monitored()}, size=len(batch["case"]))
        return parts["loss"]

    def transformed(self, batch: Batch, batch_index: int, energies: PairEnergies) -> Tensor | None:
        """Return λ times the mean energy of the batch under a chain, None where there is no augmentation.

        Args:
            batch: the pairs as they are.
            batch_index: its number in the epoch.
            energies: (N,) from the pairs that the model sees and those that its fields are judged on.
        """
        weight = 0.0 if self.pairs is None else self.pairs.weight(self.current_epoch)
        if self.pairs is None or not weight:
            return None
        step = self.step_number(batch_index)
        seen, compared = self.pairs(batch, energies, step=step, module=self.model)
        return weight * energies(seen, compared).mean()

    def _pairs(self, augmentation: TrainingAugmentation | None) -> PairAugmentation | None:
        found = pair_augmentation(augmentation)
        if found is not None and not self.trainable:
            raise CompositionError(
                f"{type(self.model).__name__} is not trained, so that augmentation changes nothing; leave augmentation "
                "out, or take a network such as model=voxelmorph."
            )
        return found

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Accumulate energy and mean Dice of one case."""
        registration = self.register(batch, **without_samples(self.model))
        self.validate_answer(batch, self.loss(batch, registration), registration.displacement)

    def validate_answer(self, batch: Batch, value: EnergyValue, displacement: Tensor) -> None:
        """Accumulate the energy of an answer, and its mean Dice where there are labels."""
        self.add_validation(loss=value.total)
        if "moving_label" in batch and self.evaluator.labels:
            moving = batch["moving_label"]
            warped = warp_labels(moving, displacement)
            scores = dice(batch["fixed_label"], warped, self.evaluator.labels, moving_labels=moving)
            self.add_validation(dice_mean=torch.tensor(list(scores.values())).nanmean())

    def test_step(self, batch: Batch, batch_index: int) -> CaseResult:  # type: ignore[override]
        """Score one case: unregistered, the model, and the refined model where asked for."""
        rows = {UNREGISTERED: self.evaluator(batch, still(batch))}
        with RuntimeMeter(self.device) as meter:
            registration = self.register(batch)
            displacement = registration.displacement
        rows[self.name] = [*self.evaluator(batch, displacement), *cost_rows(meter.usage)]
        if self.refine is not None:
            with RuntimeMeter(self.device) as meter:
                displacement = self._refined(batch, displacement)
            rows[f"{self.name}+refine"] = [*self.evaluator(batch, displacement), *cost_rows(meter.usage)]
        spread = None if registration.samples is None else registration.std()
        return self._result(batch, rows, displacement, spread)

    def _refined(self, batch: Batch, displacement: Tensor) -> Tensor:
        assert self.refine is not None
        return ask(self.refine, batch, use_masks=self.use_masks, initial=displacement).displacement

    def _result(
        self, batch: Batch, rows: dict[str, list[MetricRow]], displacement: Tensor, spread: Tensor | None
    ) -> CaseResult:
        images = {"fixed": batch["fixed_image"], "moving": batch["moving_image"]}
        images["warped"] = warp(batch["moving_image"], displacement)
        images |= {name: batch[name] for name in ("fixed_label", "moving_label") if name in batch}
        if "moving_label" in batch:
            images["warped_label"] = warp_labels(batch["moving_label"], displacement)
        arrays: dict[str, Tensor | None] = {name: image[:, 0] for name, image in images.items()}
        arrays |= {
            "displacement": displacement,
            "displacement_std": spread,
            "truth": batch.get("displacement"),
        }
        return CaseResult(
            case=batch["case"][0],
            rows=rows,
            columns={"fixed": batch["fixed_id"][0], "moving": batch["moving_id"][0]},
            arrays=case_arrays(batch, arrays),
        )


def still(batch: Batch) -> Tensor:
    """Return the displacement of an unregistered case, (N, D, *S) zeros."""
    image = batch["fixed_image"]
    return image.new_zeros(image.shape[0], image.ndim - 2, *image.shape[2:])
