"""Registration whose uncertainty counts: every case is sampled, scored with its spread, drawn and written to files."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from medreg.errors import CompositionError, ConfigError
from medreg.geometry.warp import warp_labels
from medreg.inference.gathering import Gatherer, LabelQuestion
from medreg.inference.posterior_summary import PosteriorSummary
from medreg.inference.registration import Registration
from medreg.losses.energy import Energy
from medreg.metrics.evaluator import CaseEvaluator
from medreg.metrics.runtime import RuntimeMeter
from medreg.models.base import RegistrationModel
from medreg.models.posterior import ask_posterior
from medreg.tasks.base import Batch, Task
from medreg.tasks.posterior_files import write_case
from medreg.tasks.posterior_rows import cost_of_samples, summary_rows
from medreg.tasks.registration import RegistrationTask, still
from medreg.tasks.results import UNREGISTERED, CaseResult, case_arrays, cost_rows

log = logging.getLogger("medreg")


class PosteriorTask(RegistrationTask):
    """Registration by a model that draws samples of the displacement; training and validation are as without them.

    A test case gives the rows of its `Registration.displacement`, as in `RegistrationTask`, and those of its samples;
    arrays for the pictures, a table of traces, and files for `posterior/<case>/`, see `io.posterior`.

    A chain that stops or diverges is told in a sentence of the log; what had been sampled is scored and kept.

    Args:
        model: one that draws samples.
        energy: as in `RegistrationTask`, like all that is not named here.
        refine: must be none, since the samples would not follow it.
        keep_samples: number of samples of every case that are written as ITK fields, the first that are drawn.

    Raises:
        ConfigError: `keep_samples` below 0.
        CompositionError: a refinement is asked for.
    """

    sections = (
        *Task.sections,
        "medreg.reporting.posterior_pictures.cases",
        "medreg.reporting.posterior_plots.coverage",
        "medreg.reporting.posterior_plots.traces",
        "medreg.reporting.pair_pictures.cases",
    )

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
        keep_samples: int = 0,
    ) -> None:
        super().__init__(
            model,
            energy,
            evaluator=evaluator,
            optimiser=optimiser,
            scheduler=scheduler,
            refine=refine,
            name=name,
            use_masks=use_masks,
        )
        if keep_samples < 0:
            raise ConfigError(f"task.keep_samples is {keep_samples}; give a number of samples to keep, or 0.")
        if self.refine is not None:
            raise CompositionError(
                "task=posterior cannot be combined with refine: the refined displacement would not be the one that was "
                "sampled. Leave refine out, or use task=registration."
            )
        self.keep_samples = keep_samples

    def test_step(self, batch: Batch, batch_index: int) -> CaseResult:  # type: ignore[override]
        """Sample and score one case."""
        gatherer = self.gatherer(batch)
        with RuntimeMeter(self.device) as meter:
            registration = ask_posterior(self.model, batch, use_masks=self.use_masks, listeners=[gatherer])
        summary = gatherer.summary()
        self._tell(batch, registration, summary, gatherer.left_out)
        rows = {
            UNREGISTERED: self.evaluator(batch, still(batch)),
            self.name: [*self.evaluator(batch, registration.displacement), *cost_rows(meter.usage)],
        }
        spread = None if summary is None else summary.std()
        if summary is None:
            return self._result(batch, rows, registration.displacement, spread)
        rows[self.name] += [*summary_rows(summary, batch), *cost_of_samples(summary, meter.usage)]
        return self._with_posterior(
            self._result(batch, rows, registration.displacement, spread), batch, summary
        )

    def gatherer(self, batch: Batch) -> Gatherer:
        """Return what listens to the samples of a case."""
        return Gatherer(
            pairs=len(batch["fixed_image"]),
            spacing_mm=batch["spacing_mm"],
            mask=batch.get("fixed_mask"),
            labels=self._question(batch),
            keep=self.keep_samples,
        )

    def _question(self, batch: Batch) -> LabelQuestion | None:
        if "moving_label" not in batch or not self.evaluator.labels:
            return None
        moving = batch["moving_label"]
        voxel_mm3 = torch.linalg.det(batch["affine"][0, :3, :3].double()).abs()
        return LabelQuestion(
            labels=self.evaluator.labels,
            moving=moving,
            warp=partial(warp_labels, moving),
            voxel_ml=float(voxel_mm3) / 1000,
            fixed=batch.get("fixed_label"),
            vanished=self.evaluator.vanished,
            aggregate=self.evaluator.dice,
        )

    def _tell(
        self, batch: Batch, registration: Registration, summary: PosteriorSummary | None, left_out: int
    ) -> None:
        """Say in the log what went wrong in sampling a case."""
        case = batch["case"][0]
        for note in getattr(getattr(registration, "sampling", None), "notes", ()):
            log.warning("Case %s: %s", case, note)
        if left_out:
            log.warning("Case %s: %d samples were not finite and do not count.", case, left_out)
        if summary is None:
            log.warning(
                "Case %s: fewer than two samples were drawn, so it has no rows of uncertainty; draw more samples, thin "
                "less, or shorten the burn-in.",
                case,
            )

    def _with_posterior(self, result: CaseResult, batch: Batch, summary: PosteriorSummary) -> CaseResult:
        arrays: dict[str, Tensor | None] = {
            "displacement_mean": summary.mean,
            "displacement_sd_mm": summary.sd_mm(batch["spacing_mm"].cpu()),
            "label_probability": summary.probabilities,
        }
        found: Mapping[str, Tensor] = case_arrays({}, arrays)
        if summary.probabilities is not None:
            found = {**found, "label_probability_codes": torch.tensor(list(summary.labels.values()))}
        place = {key: batch[key].cpu() for key in ("affine", "slice_index") if key in batch}
        return replace(
            result,
            arrays={**result.arrays, **found},
            tables={**result.tables, "traces": list(summary.trace_rows())},
            writers={**result.writers, "posterior": partial(write_case, summary=summary, **place)},
        )
