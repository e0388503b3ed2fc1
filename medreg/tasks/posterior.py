"""Registration whose uncertainty counts: every case is sampled, scored with its spread, drawn and written to files."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medreg.augmentation.training import TrainingAugmentation
from medreg.errors import CompositionError, ConfigError
from medreg.geometry.precision import usable
from medreg.inference.gathering import Gatherer
from medreg.inference.posterior_inference import Kept
from medreg.inference.posterior_summary import PosteriorSummary
from medreg.io.digest import digest_of
from medreg.losses.energy import Energy
from medreg.metrics.evaluator import CaseEvaluator
from medreg.metrics.rows import MetricRow
from medreg.metrics.runtime import RuntimeMeter
from medreg.metrics.uncertainty import table
from medreg.models.base import RegistrationModel
from medreg.models.posterior import Sampled, ask_posterior, go_on, takes
from medreg.models.solver import Solver
from medreg.tasks.base import Batch, Task
from medreg.tasks.minutes import Minutes
from medreg.tasks.posterior_case import calibration_of, gatherer_of, mask_of, slicewise
from medreg.tasks.posterior_files import write_case
from medreg.tasks.posterior_rows import cost_of_samples, summary_rows
from medreg.tasks.registration import RegistrationTask, still
from medreg.tasks.results import UNREGISTERED, CaseResult, case_arrays, cost_rows

log = logging.getLogger("medreg")
MANY_LABELS = 12  # whose probabilities are drawn; files are written of all


class PosteriorTask(RegistrationTask):
    """Registration by a model that draws samples of the displacement; training and validation are as without them.

    A test case gives the rows of its `Registration.displacement`, as in `RegistrationTask`, and those of its samples;
    arrays for the pictures, tables of traces and calibration, and files for `posterior/<case>/`, see `io.posterior`.

    A chain that stops or diverges is told in a sentence of the log; what had been sampled is scored and kept.

    Args:
        model: one that draws samples.
        energy: as in `RegistrationTask`, like all that is not named here.
        refine: must be none, since the samples would not follow it.
        keep_samples: number of samples of every case that are written as ITK fields, the first that are drawn.
        probe_voxels: voxels of every case at which whole chains are kept, for R-hat and the score of the samples.
        band_mm: half-width of the band around structures in which label probabilities are judged, mm.
        seed: of the choice of the voxels, and of the random map beside the spread.

    Raises:
        ConfigError: a number that makes no sense.
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
        augmentation: TrainingAugmentation | None = None,
        keep_samples: int,
        probe_voxels: int,
        band_mm: float,
        seed: int,
        keep_state_s: float,
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
            augmentation=augmentation,
        )
        for option, value, least in (("keep_samples", keep_samples, 0), ("probe_voxels", probe_voxels, 1)):
            if value < least:
                raise ConfigError(f"task.{option} is {value}; give a whole number of {least} or more.")
        if not 0 <= keep_state_s < float("inf"):
            raise ConfigError(f"task.keep_state_s is {keep_state_s}; give seconds, 0 or more.")
        if not band_mm > 0:
            raise ConfigError(f"task.band_mm is {band_mm}; give a width in mm above 0.")
        if self.refine is not None:
            raise CompositionError(
                "task=posterior cannot be combined with refine: the refined displacement would not be the one that was "
                "sampled. Leave refine out, or use task=registration."
            )
        self.keep_samples, self.probe_voxels = keep_samples, probe_voxels
        self.band_mm, self.seed, self.keep_state_s = band_mm, seed, keep_state_s

    def test_step(self, batch: Batch, batch_index: int) -> CaseResult:  # type: ignore[override]
        """Sample and score one case.

        Raises:
            DataError: the mask of the case is empty.
            ChainsStopped: all chains were stopped before there was any sample.
        """
        # What gathers samples is written into, which tensors of the inference mode of testing do not allow.
        with torch.inference_mode(False), torch.no_grad():
            return self._tested({key: _usable(value) for key, value in batch.items()})

    def _tested(self, batch: Batch) -> CaseResult:
        with RuntimeMeter(self.device) as meter:
            found, gatherer = self._sampled(batch)
        summary, displacement = gatherer.summary(), found.registration.displacement
        self._tell(batch, (*found.notes, *notes_of(summary, gatherer.left_out)))
        rows: dict[str, list[MetricRow]] = {
            UNREGISTERED: self.evaluator(batch, still(batch)),
            self.name: [*self.evaluator(batch, displacement), *cost_rows(meter.usage)],
        }
        if summary is None:
            return self._result(batch, rows, displacement, None)
        sd_mm = summary.sd_mm(batch["spacing_mm"].cpu())
        calibration = calibration_of(
            summary, batch, displacement, band_mm=self.band_mm, labels=self.evaluator.labels, seed=self.seed
        )
        rows[self.name] += [
            *summary_rows(summary, sd_mm, mask_of(batch)),
            *calibration.rows,
            *cost_of_samples(summary, meter.usage),
        ]
        result = self._result(batch, rows, displacement, summary.std())
        return self._with_posterior(
            result, batch, summary, sd_mm, table.rows_for(self.name, calibration.counts)
        )

    def _sampled(self, batch: Batch) -> tuple[Sampled, Gatherer]:
        """Ask the model; one that can go on after a kill keeps its state in the run folder until the case is done."""
        gatherers: list[Gatherer] = []
        told: dict[str, Any] = {}
        if isinstance(self.model, Solver):
            told["callback"] = Minutes(batch["case"][0], self.model.effort)

        def ask(**context: Any) -> Sampled:
            gatherer = self.gatherer(batch)  # a new one, since a state may have been loaded in part
            gatherers.append(gatherer)
            return ask_posterior(
                self.model,
                batch,
                use_masks=self.use_masks,
                listener=gatherer,
                so_far=lambda: gatherer.mean() if gatherer.count else None,
                **told,
                **context,
            )

        if not takes(self.model, "keep"):
            return ask(), gatherers[-1]
        case = digest_of({"case": batch["case"][0]})
        folder = Path(self.trainer.default_root_dir) / "store" / "sampling" / case
        found = go_on(ask, self.model, Kept(folder, every_s=self.keep_state_s))
        return found, gatherers[-1]

    def gatherer(self, batch: Batch) -> Gatherer:
        """Return what listens to the samples of a case."""
        return gatherer_of(
            batch,
            labels=self.evaluator.labels,
            keep=self.keep_samples,
            voxels=self.probe_voxels,
            seed=self.seed,
        )

    def _tell(self, batch: Batch, notes: tuple[str, ...]) -> None:
        """Say in the log what went wrong in sampling a case."""
        for note in notes:
            log.warning("Case %s: %s.", batch["case"][0], note.rstrip("."))

    def _with_posterior(
        self,
        result: CaseResult,
        batch: Batch,
        summary: PosteriorSummary,
        sd_mm: Tensor,
        calibration: list[dict[str, Any]],
    ) -> CaseResult:
        """Add the arrays that are drawn, the tables, and what writes the files."""
        probability = slicewise(summary)
        if (
            probability is not None
        ):  # more outlines than that are not drawn, and a map each would fill the memory
            probability = probability[:, :MANY_LABELS]
        arrays: dict[str, Tensor | None] = {
            "displacement_mean": summary.mean,
            "displacement_sd_mm": sd_mm,
            "label_probability": probability,
        }
        found: Mapping[str, Tensor] = case_arrays({}, arrays)
        if probability is not None:
            found = {
                **found,
                "label_probability_codes": torch.tensor(list(summary.labels.values())[:MANY_LABELS]),
            }
        place = {key: batch[key].cpu() for key in ("affine", "slice_index") if key in batch}
        tables = {"traces": list(summary.trace_rows()), table.TABLE: calibration}
        return replace(
            result,
            arrays={**result.arrays, **found},
            tables={**result.tables, **{name: rows for name, rows in tables.items() if rows}},
            writers={**result.writers, "posterior": partial(write_case, summary=summary, **place)},
        )


def _usable(value: Any) -> Any:
    return usable(value) if isinstance(value, Tensor) else value


def notes_of(summary: PosteriorSummary | None, left_out: int) -> list[str]:
    """Return sentences about samples that do not count."""
    notes = []
    if left_out:
        notes.append(f"{left_out} samples were not finite and do not count")
    if summary is None:
        notes.append(
            "fewer than two samples were drawn, so nothing is said of the uncertainty; draw more samples, thin less, "
            "or shorten the burn-in"
        )
    return notes
