"""Training of a distance from single images: two appearances, a known misalignment, its size to be guessed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from medreg.augmentation.misalignment import Misalignment
from medreg.augmentation.random_convolution import RandomConvolution
from medreg.metrics.landscape import correlation, far_field_fraction, lowest, monotony
from medreg.metrics.rows import MetricRow
from medreg.models.blocks.frame import framed
from medreg.models.mad import DistanceNetwork, Views, measured
from medreg.tasks.base import Batch, Task
from medreg.tasks.distance_probe import Curve, Points, Probe
from medreg.tasks.results import CaseResult

CONSTANT = "constant"  # the floor: the median distance, whatever the images


class DistanceTask(Task):
    """Learn D(F, M) ≈ d(T) by least absolute error, from images of one contrast.

    Loss: mean |D(g₂(I∘G∘T), g₁(I∘G)) − d(T)| (ours), on half-extents. Validation and test use the symmetric
    form. The learning rate of the optimiser is the peak of one cycle over all steps.

    Args:
        model: the distance.
        misalignment: makes training pairs from images.
        probe: what validation and test ask.
        views: distribution of the random convolutions through which test shows real images, see `Views`.
        tta_k: how many of them; 0 leaves them out.
        optimiser: as in `Task`, like name.
        seed: of training pairs; a pair depends on it and on the number of batches before only, so that a resumed run
            goes on as if it had not stopped.
    """

    model: DistanceNetwork
    requires: ClassVar[frozenset[str]] = frozenset({"fixed_image", "moving_image", "case"})
    sections = (
        "medreg.reporting.sections.results",
        "medreg.reporting.distance_plots.distances",
        "medreg.reporting.sections.training",
    )

    def __init__(
        self,
        model: DistanceNetwork,
        misalignment: Misalignment,
        *,
        probe: Probe,
        views: RandomConvolution,
        tta_k: int,
        optimiser: Callable[[Any], torch.optim.Optimizer],
        seed: int,
        name: str = "mad",
    ) -> None:
        super().__init__(model, optimiser=optimiser, name=name)
        self.misalignment, self.probe, self.seed = misalignment, probe, seed
        self.views = Views(views, tta_k, seed) if tta_k > 0 else None
        self._points: list[Points] = []
        self._curves: list[list[Curve]] = []

    def generator(self, number: int) -> torch.Generator:
        """Source of chance that depends on the seed and a number only."""
        return torch.Generator(self.device).manual_seed(self.seed * 1_000_003 + number)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Return the mean absolute error of one batch of single images, half-extents.

        Raises:
            NumericalError: it is not finite.
        """
        image = framed(batch["image"], self.model.size)
        seen = self.current_epoch * int(self.trainer.num_training_batches) + batch_index
        made = self.misalignment(image, scaling=self.model.scaling, generator=self.generator(seen))
        loss = (self.model(made.fixed, made.moving) - made.distance).abs().mean()
        self.check_finite(loss, batch)
        self.train_means.add({"loss": loss}, size=len(image))
        return loss

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Probe two fresh appearances of every image of one case: the training contrast only, never another."""
        fixed, moving = self._shown(batch, fresh=True, number=1 + batch_index)
        self._points.append(self.probe.points(fixed, moving, self._measure(None)))
        self._curves.append(self.probe.curves(fixed, moving, self._measure(None)))
        self._half_extent_mm = _half_extent_mm(batch)

    def on_validation_epoch_end(self) -> None:
        """Log the error, the correlation, and how monotone the landscapes are."""
        truth = torch.cat([points.truth for points in self._points])
        predicted = torch.cat([points.predicted for points in self._points])
        error = (predicted - truth).abs().mean()
        self.log("val/loss", error, sync_dist=True)
        self.log("val/distance_l1_mm", error * self._half_extent_mm, sync_dist=True)
        self.log("val/distance_pearson", correlation(_array(predicted), _array(truth)), sync_dist=True)
        for motion in zip(*self._curves, strict=True):
            mean = torch.stack([curve.measure for curve in motion]).mean(0)
            values = _array(torch.tensor(motion[0].values))
            self.log(f"val/{motion[0].motion}_spearman", monotony(values, _array(mean)), sync_dist=True)
        self._points.clear()
        self._curves.clear()

    def test_step(self, batch: Batch, batch_index: int) -> CaseResult:  # type: ignore[override]
        """Probe one pair of contrasts, aligned as stored: fresh appearances where both are the same image."""
        same = batch["fixed_id"] == batch["moving_id"]
        fixed, moving = self._shown(batch, fresh=same, number=1 + batch_index)
        contrast, scale = self._contrast(batch), _half_extent_mm(batch)
        rows: dict[str, list[MetricRow]] = {CONSTANT: []}
        tables: dict[str, list[dict[str, Any]]] = {"distances": [], "landscapes": []}
        methods = {self.name: None} if self.views is None else {self.name: None, self._tta: self.views}
        for name, views in methods.items():
            points = self.probe.points(fixed, moving, self._measure(views))
            curves = self.probe.curves(fixed, moving, self._measure(views))
            floor = Points(points.truth, points.truth.median().expand_as(points.truth))
            rows[CONSTANT] = _error_rows(contrast, floor, scale)[:2]
            rows[name] = [*_error_rows(contrast, points, scale), *_curve_rows(contrast, curves)]
            shared = {"contrast": contrast, "method": name}
            tables["distances"] += [{**shared, **row} for row in points.rows(scale)]
            tables["landscapes"] += [{**shared, **row} for curve in curves for row in curve.rows(scale)]
        columns = {"fixed": batch["fixed_id"][0], "moving": batch["moving_id"][0]}
        return CaseResult(batch["case"][0], rows, columns=columns, tables=tables)

    @property
    def _tta(self) -> str:
        return f"{self.name}+tta"

    def _measure(self, views: Views | None) -> Callable[[Tensor, Tensor], Tensor]:
        return lambda fixed, moving: measured(self.model, fixed, moving, views=views)

    def _shown(self, batch: Batch, *, fresh: bool, number: int) -> tuple[Tensor, Tensor]:
        """Fixed and moving images in the network's frame, in two random appearances if they are to be fresh."""
        fixed, moving = (framed(batch[f"{side}_image"], self.model.size) for side in ("fixed", "moving"))
        if not fresh:
            return fixed, moving
        shown = self.misalignment.appearance(
            torch.cat((fixed, moving)),
            scaling=self.model.scaling,
            generator=self.probe.chance(number, self.device),
        )
        return shown[: len(fixed)], shown[len(fixed) :]

    def _contrast(self, batch: Batch) -> str:
        """Names of both contrasts, as the data set calls them."""
        pairs = {pair.id: pair for pair in self.trainer.datamodule.pairs("test")}  # type: ignore[attr-defined]
        pair = pairs[batch["case"][0]]
        return " to ".join(record.modality or "image" for record in (pair.moving, pair.fixed))

    def schedule_of(self, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
        """One cycle of the learning rate over all steps."""
        cycle = torch.optim.lr_scheduler.OneCycleLR(
            optimiser,
            max_lr=optimiser.param_groups[0]["lr"],
            total_steps=int(self.trainer.estimated_stepping_batches),
            cycle_momentum=False,
        )
        return {"scheduler": cycle, "interval": "step"}


def _half_extent_mm(batch: Batch) -> float:
    """Half the length of the longest axis, mm; voxels are isotropic."""
    longest = max(batch["fixed_image"].shape[2:])
    return (longest - 1) / 2 * float(batch["spacing_mm"][0].mean())


def _error_rows(contrast: str, points: Points, scale: float) -> list[MetricRow]:
    """Error in mm for this pair of contrasts and over all, and the correlation."""
    error = float((points.predicted - points.truth).abs().mean()) * scale
    pearson = correlation(_array(points.predicted), _array(points.truth))
    return [
        MetricRow(contrast, "distance_l1_mm", error, "mm"),
        MetricRow("all", "distance_l1_mm", error, "mm"),
        MetricRow(contrast, "distance_pearson", pearson, "1"),
    ]


def _curve_rows(contrast: str, curves: list[Curve]) -> list[MetricRow]:
    """Shape of the landscapes of one case."""
    rows = []
    for curve in curves:
        values, measure = _array(torch.tensor(curve.values)), _array(curve.measure)
        rows += [
            MetricRow(contrast, f"{curve.motion}_bias", abs(lowest(values, measure)), curve.unit),
            MetricRow(contrast, f"{curve.motion}_far_field", far_field_fraction(values, measure), "1"),
            MetricRow(contrast, f"{curve.motion}_spearman", monotony(values, measure), "1"),
        ]
    return rows


def _array(values: Tensor) -> Any:
    return values.detach().double().cpu().numpy()
