"""Segmentation: a network gives every voxel a structure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from medreg.augmentation.consistency_term import ConsistencyTerm
from medreg.augmentation.training import TrainingAugmentation
from medreg.errors import CompositionError
from medreg.metrics.overlap import label_index
from medreg.metrics.runtime import RuntimeMeter
from medreg.metrics.segmentation import SegmentationEvaluator
from medreg.metrics.uncertainty import table
from medreg.metrics.uncertainty.case import Calibration
from medreg.metrics.uncertainty.labels import label_calibration
from medreg.tasks.averaged import AveragedTask
from medreg.tasks.base import Batch
from medreg.tasks.moment import Moment
from medreg.tasks.results import CaseResult, case_arrays, cost_rows
from medreg.tasks.semi.base import SemiSupervision, Unlabelled


class SegmentationTask(AveragedTask):
    """Train a network on labelled images, perhaps on others too, and evaluate it per case.

    Class 0 is everything that no structure covers; class k is the k-th structure of the data. The loss of a step is
    L(labelled) + λ_l D(labelled) + what the images without labels say; D is that of the augmentation's adversary,
    which acts before the weights have seen the batch; it shares the supervised pass where that is the same.

    Args:
        model: from images (B, 1, *S) to scores (B, L + 1, *S).
        loss: from scores (B, L + 1, *S) and shares of the classes (B, L + 1, *S), which sum to 1, to a number.
        evaluator: scores one case.
        multiple: voxels; images are padded with 0 to a multiple of it for the network, as its strides need.
        band_mm: half-width of the band around the true structures in which the probabilities are judged; None: they
            are not.
        augmentation: what is done to training images; None: nothing.
        semi: how images without labels are learned from; None: they are not.
        ema: as in `AveragedTask`.
        seed: of augmentation, adversary and teacher; what is drawn in a step follows from the seed, the number of
            batches before it and the process only, so that a resumed run goes on as if it had not stopped.
        optimiser: as in `Task`, like the rest.

    Raises:
        CompositionError: `semi` does not fit the augmentation, or brings an average beside `ema`.
    """

    semi: SemiSupervision | None
    requires: ClassVar[frozenset[str]] = frozenset({"image", "label", "case"})
    sections = (
        "medreg.reporting.sections.results",
        "medreg.reporting.segmentation_sections.phases",
        "medreg.reporting.segmentation_sections.robustness",
        "medreg.reporting.segmentation_sections.extremes",
        "medreg.reporting.sections.training",
        "medreg.reporting.adversary_pictures.adversary",
        "medreg.reporting.label_pictures.cases",
    )

    def __init__(
        self,
        model: nn.Module,
        loss: nn.Module,
        *,
        evaluator: SegmentationEvaluator,
        multiple: int,
        band_mm: float | None = None,
        augmentation: TrainingAugmentation | None = None,
        semi: SemiSupervision | None = None,
        ema: float | None = None,
        seed: int = 0,
        optimiser: Callable[[Any], torch.optim.Optimizer] | None = None,
        scheduler: Callable[[torch.optim.Optimizer], Any] | None = None,
        name: str = "model",
    ) -> None:
        super().__init__(
            model, ema=ema, evaluator=evaluator, optimiser=optimiser, scheduler=scheduler, name=name
        )
        self.loss = loss
        self.multiple = multiple
        self.band_mm = band_mm
        self.augmentation, self.seed = augmentation, seed
        self.semi = semi
        if semi is not None:
            semi.prepare(model, augmentation)
            if ema is not None and semi.evaluated is not None:
                raise CompositionError(
                    f"task.ema={ema} and semi.evaluate={semi.evaluated} each name weights to be evaluated; set "
                    "task.ema=null, or semi.evaluate=student."
                )

    def scores(self, image: Tensor, model: nn.Module | None = None) -> Tensor:
        """Return the scores of every class, (B, L + 1, *S).

        Args:
            image: (B, 1, *S).
            model: the network that is asked; None: the one that is trained.

        Raises:
            CompositionError: the network gives another number of classes than the data have, or its normalisation
                needs more than one image.
        """
        try:
            scores = (self.model if model is None else model)(self._padded(image))
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise CompositionError(
                f"Batch normalisation cannot train on {len(image)} image of {list(image.shape[2:])} voxels: at the "
                "coarsest level one value a channel is left. Set data.loader.batch_size=2 or more (with "
                "data.loader.drop_last=true, so that no batch of one is left over), or model.norm=instance."
            ) from error
        return self._cut(scores, image)

    def _padded(self, image: Tensor) -> Tensor:
        """Return the image padded with 0 to what the network takes."""
        padding = [part for size in reversed(image.shape[2:]) for part in (0, -size % self.multiple)]
        return nn.functional.pad(image, padding)

    def _cut(self, scores: Tensor, image: Tensor) -> Tensor:
        """Return scores on the grid of the image; refuse another number of classes than the data have."""
        classes = len(self.evaluator.labels) + 1
        if scores.shape[1] != classes:
            raise CompositionError(
                f"The network gives {scores.shape[1]} classes, but the data have {classes - 1} structures and the "
                f"background; set model.out_channels={classes}."
            )
        for axis, size in enumerate(image.shape[2:], start=2):
            scores = scores.narrow(axis, 0, size)
        return scores

    def predict(self, image: Tensor) -> Tensor:
        """Return the code of the most probable structure of every voxel, (B, 1, *S); 0 where there is none."""
        return self._codes(self.scores(image))

    def probabilities(self, image: Tensor) -> Tensor:
        """Return the probability of every class, (B, L + 1, *S), which the evaluation and `medreg segment` use."""
        return self.scores(image).softmax(1)

    def on_fit_start(self) -> None:
        """Refuse, before anything is trained, data without what `semi` learns from."""
        super().on_fit_start()
        data = getattr(self.trainer, "datamodule", None)
        if self.semi is not None and "unlabelled" not in getattr(data, "provides", ("unlabelled",)):
            raise _nothing_unlabelled()
        if self.augmentation is not None and self.augmentation.consistency is not None:
            self.augmentation.consistency.tell_if_late(self.trainer.max_epochs)
        if self.semi is not None:
            self.semi.tell_if_slow(self.trainer.max_epochs)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Return the loss of one batch.

        Raises:
            NumericalError: it is not finite.
            CompositionError: `semi` finds no images without labels.
        """
        moment = self._moment(batch, batch_index)
        image, target = self.augmented(batch["image"], self._target(batch["label"]), moment)
        scores = self.scores(image) if self._shared(image, moment) else None
        others = self._of_labelled(image, target, scores, moment), self._of_unlabelled(batch, moment)
        supervised = self.loss(self.scores(image) if scores is None else scores, target)
        loss = sum((other.loss for other in others if other is not None), start=supervised)
        self.check_finite(loss, batch)
        told = {name: value for other in others if other is not None for name, value in other.told.items()}
        parts = {"supervised": supervised, **told} if told else {}
        self.train_means.add({"loss": loss, **parts}, size=len(batch["image"]))
        return loss

    def augmented(self, image: Tensor, target: Tensor, moment: Moment) -> tuple[Tensor, Tensor]:
        """Return images (N, 1, *S) and shares of the classes (N, L + 1, *S) as a step trains on them."""
        if self.augmentation is None:
            return image, target
        with torch.no_grad():
            return self.augmentation.batch(image, target, generator=moment.generator("labelled"))

    def _acting(self, moment: Moment) -> ConsistencyTerm | None:
        """The consistency of labelled images, where its adversary acts."""
        term = None if self.augmentation is None else self.augmentation.consistency
        return term if term is not None and term.active(moment.epoch) else None

    def _shared(self, image: Tensor, moment: Moment) -> bool:
        """Whether one pass through the network serves the supervised loss and the adversary."""
        term = self._acting(moment)
        return term is not None and term.takes_scores_of(self.model, image)

    def _of_labelled(
        self, image: Tensor, target: Tensor, scores: Tensor | None, moment: Moment
    ) -> Unlabelled | None:
        """λ_l D of the images whose labels are known; None where no adversary acts."""
        term = self._acting(moment)
        if term is None:
            return None
        found = term(
            moment.scores, image, labels=target, clean=scores, step=2 * moment.step, module=self.model
        )
        weight = term.weight_at(moment.epoch)
        weight *= 1.0 if self.semi is None else self.semi.share_of_labelled(moment.epoch)
        return Unlabelled(weight * found.loss, {"consistency": found.loss, "consistency_start": found.before})

    def _of_unlabelled(self, batch: Batch, moment: Moment) -> Unlabelled | None:
        """What the images without labels say; None where they are not learned from."""
        if self.semi is None:
            return None
        if "unlabelled" not in batch:
            raise _nothing_unlabelled()
        image: Tensor = batch["unlabelled"]["image"]
        if self.augmentation is not None:
            unknown = image.new_zeros(len(image), len(self.evaluator.labels) + 1, *image.shape[2:])
            unknown[:, 0] = 1.0
            with torch.no_grad():
                changed, _ = self.augmentation.batch(image, unknown, generator=moment.generator("unlabelled"))
            image = changed[: len(image)]  # without the copies as they were
        found: Unlabelled = self.semi(image, moment)
        return found

    def _moment(self, batch: Batch, batch_index: int) -> Moment:
        return Moment(
            self.scores,
            self.model,
            self.current_epoch,
            self.step_number(batch_index),
            self.seed,
            self.global_rank,
            batch["image"].device,
        )

    def begin_averages(self) -> None:
        """Let the average and the teacher start."""
        super().begin_averages()
        if self.semi is not None:
            self.semi.begin(self.model)

    def update_averages(self) -> None:
        """Let the average and the teacher follow."""
        super().update_averages()
        if self.semi is not None:
            self.semi.after_step(self.model)

    @property
    def evaluated(self) -> str:
        """Dotted name of the network whose weights are evaluated."""
        part = None if self.semi is None else self.semi.evaluated
        return super().evaluated if part is None else f"semi.{part}.network"

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Accumulate loss, mean Dice and mean intersection over union of one case."""
        scores = self.scores(batch["image"], self.validated())
        maps = batch["label"], self._codes(scores)
        loss = self.loss(scores, self._target(batch["label"]))
        self.add_validation(
            loss=loss, dice_mean=self.evaluator.mean_dice(*maps), iou_mean=self.evaluator.mean_iou(*maps)
        )

    def test_step(self, batch: Batch, batch_index: int) -> CaseResult:  # type: ignore[override]
        """Score one case."""
        with RuntimeMeter(self.device) as meter:
            probabilities = self.probabilities(batch["image"])
            found = self._codes(probabilities)
        judged = self._calibration(batch, probabilities)
        rows = [*self.evaluator(batch, found), *judged.rows]
        shown = {"image": batch["image"], "label": batch["label"], "prediction": found}
        return CaseResult(
            case=batch["case"][0],
            rows={self.name: [*rows, *cost_rows(meter.usage)]},
            columns={"phase": str(batch["phase"][0])} if "phase" in batch else {},
            arrays=case_arrays(batch, {name: array[:, 0] for name, array in shown.items()}),
            tables={table.TABLE: table.rows_for(self.name, judged.counts)} if judged.counts else {},
        )

    def _calibration(self, batch: Batch, probabilities: Tensor) -> Calibration:
        """Whether the probabilities near the true outlines are true: rows, and counts to be pooled over cases."""
        if self.band_mm is None or not self.evaluator.labels:
            return Calibration()
        stated = probabilities[:, 1:].detach().float().clamp(0, 1)
        return label_calibration(
            stated, batch["label"], self.evaluator.labels,
            spacing_mm=batch["spacing_mm"][0].cpu(), band_mm=self.band_mm,
        )  # fmt: skip

    def _codes(self, scores: Tensor) -> Tensor:
        codes = torch.tensor([0, *self.evaluator.labels.values()], device=scores.device)
        return codes[scores.argmax(dim=1, keepdim=True)]

    def _target(self, label: Tensor) -> Tensor:
        """Return the shares of the classes, (B, L + 1, *S) of 0 and 1, of label codes (B, 1, *S)."""
        classes = label_index(label[:, 0], list(self.evaluator.labels.values()))
        shares = nn.functional.one_hot(classes, len(self.evaluator.labels) + 1)
        return shares.movedim(-1, 1).to(torch.get_default_dtype()).contiguous()


def _nothing_unlabelled() -> CompositionError:
    return CompositionError(
        "semi learns from images without labels beside those with labels, and these data have none. Set "
        "data.labelled=3, for example, which keeps the labels of that many subjects and uses the images of the others "
        "without theirs (data.unlabelled_batch_size must be above 0, data.unlabelled not 0), or semi=none."
    )
