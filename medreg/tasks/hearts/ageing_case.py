"""What is asked of a model of ageing about one heart: itself, every age, the other sex, and a second visit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from medreg.errors import require_choice, require_whole
from medreg.metrics.hearts.measures import MEASURES
from medreg.metrics.hearts.sources import (
    AGED,
    GAP,
    GENERATED,
    LATER,
    REAL,
    RECONSTRUCTED,
    TABLE,
    TO_AGE,
    TO_GROUP,
    heart_row,
)
from medreg.metrics.rows import MetricRow, row
from medreg.metrics.runtime import RuntimeMeter
from medreg.models.hearts.age_codes import GROUPS, group_years
from medreg.models.hearts.ageheart import AgeHeart, at_group
from medreg.models.hearts.base import AgeingModel
from medreg.models.hearts.condition import age_group
from medreg.models.hearts.conditions import Covariates
from medreg.tasks.hearts.second_visit import VisitSpread, best_shift, shifted
from medreg.tasks.moment import chance
from medreg.tasks.results import CaseResult, case_arrays, cost_rows

Measures = dict[str, float]


class AgeingEvaluation:
    """A heart as the model gives it back, at every age, of the other sex, and, of people seen twice, years later.

    Methods of results.csv: NAME, the reconstruction at the own age, with what else is known of the heart; `NAME later`,
    the predicted heart against that of the second visit; `NAME later aligned`, the same after the shift in the plane of
    the short axis that fits best, since people do not lie twice alike. The table `measures` gets a row a heart, see
    `medreg.metrics.hearts.sources`.

    Args:
        evaluator: of hearts, see `medreg.metrics.hearts.evaluator.HeartEvaluator`.
        source: which hearts count as generated: `prior`, new ones at the conditions of each case, or `translate`, those
            of the case at every age.
        samples: new hearts of each case, from the prior.
        shift_mm: least and greatest shift, mm, that is tried on either axis of the plane.
        spread: how far second visits scatter around a prediction.
    """

    def __init__(
        self,
        evaluator: Any,
        *,
        source: Literal["prior", "translate"],
        samples: int,
        shift_mm: Sequence[float],
        spread: VisitSpread,
    ) -> None:
        require_choice("task.evaluation.source", source, ("prior", "translate"))
        require_whole("task.evaluation.samples", samples, 0)
        self.evaluator, self.source, self.samples = evaluator, source, samples
        self.shift_mm, self.spread = tuple(map(float, shift_mm)), spread

    def __call__(
        self, model: AgeingModel, batch: Mapping[str, Any], *, name: str, device: torch.device, seed: int
    ) -> CaseResult:
        """Score one heart.

        Args:
            model: in evaluation mode.
            batch: one heart, (1, 2, *S), perhaps with `later`.
            name: of the method.
            device: whose memory is measured.
            seed: of what is drawn.
        """
        case = _Case(self.evaluator, batch)
        case.note(REAL, case.shape)
        with RuntimeMeter(device) as meter:
            back = model.reconstruct(case.shape, case.covariates).cpu()
        own = case.note(RECONSTRUCTED, back)
        rows = {name: list(self.evaluator.completion(case.shape[0], back[0], case.spacing_mm))}
        rows[name] += cost_rows(meter.usage)
        aged = self._every_age(model, case)
        rows[name] += [*_flip(model, case, own), *_identity(model, case, aged), *_inner(model, case, aged)]
        self._generated(model, case, aged, chance(seed, *case.name.encode(), stream="/generated"))
        arrays = {"label": case.shape, "reconstructed": back, "aged": aged[None]}
        if "later" in batch:
            predicted, later = self._later(model, case, batch["later"], own, aged, seed)
            arrays |= {"later": later, "predicted": predicted}
            rows = self._visit_rows(name, case, predicted, later) | rows  # the headline last
        return CaseResult(
            case=case.name, rows=rows, arrays=case_arrays(batch, arrays), tables={TABLE: case.rows}
        )

    def _every_age(self, model: AgeingModel, case: _Case) -> Tensor:
        """The heart in every group of age, (7, 2, *S)."""
        found = []
        for group in range(GROUPS):
            told = at_group(case.covariates, torch.tensor([group]))
            made = model.age(case.shape, case.covariates, told).cpu()
            case.note(AGED, made, to_group=group, to_age=float(told["age_years"][0]))
            found.append(made)
        return torch.cat(found)

    def _generated(self, model: AgeingModel, case: _Case, aged: Tensor, generator: torch.Generator) -> None:
        """Note hearts of new people, or this one's at all ages, as generated."""
        if self.source == "translate":
            for group, made in enumerate(aged):
                years = float(group_years(torch.tensor(group)))
                case.note(GENERATED, made[None], sample=group, age_years=years)
        elif model.generates:
            for sample in range(self.samples):
                made = model.generate(case.covariates, generator=generator).cpu()
                case.note(GENERATED, made, sample=sample)

    def _later(
        self,
        model: AgeingModel,
        case: _Case,
        later: Mapping[str, Any],
        own: Measures,
        aged: Tensor,
        seed: int,
    ) -> tuple[Tensor, Tensor]:
        """Predicted and real heart of the second visit; notes both, and how far the visit may scatter."""
        seen: Tensor = later["shape"].cpu()
        told: Covariates = later["covariates"]
        gap = float(told["age_years"][0] - case.covariates["age_years"][0])
        group = int(age_group(told["age_years"])[0])
        place: dict[str, Any] = {"to_group": group, "to_age": float(told["age_years"][0]), "gap": gap}
        predicted = model.age(case.shape, case.covariates, told).cpu()
        case.note(LATER, seen, covariates=told, **place)
        found = case.note(AGED, predicted, **place)
        first = case.measures(case.shape)
        youngest, oldest = (case.measures(aged[number][None]) for number in (0, GROUPS - 1))
        step = {
            name: abs(old - young) / (GROUPS - 1)
            for (name, young), old in zip(youngest.items(), oldest.values(), strict=True)
        }
        drawn = self.spread.draw(first, own, found, step, chance(seed, *case.name.encode(), stream="/visit"))
        for sample, measures in enumerate(drawn, start=1):
            case.add(AGED, measures, sample=sample, **place)
        return predicted, seen

    def _visit_rows(
        self, name: str, case: _Case, predicted: Tensor, later: Tensor
    ) -> dict[str, list[MetricRow]]:
        """How well the predicted heart lies on that of the second visit, as it is and after the best shift."""
        limits = [
            (math.ceil(self.shift_mm[0] / mm - 1e-6), math.floor(self.shift_mm[1] / mm + 1e-6))
            for mm in case.spacing_mm[:2]
        ]
        moved = shifted(predicted[0], best_shift(later[0], predicted[0], limits))
        return {
            f"{name} later": list(self.evaluator.completion(later[0], predicted[0], case.spacing_mm)),
            f"{name} later aligned": list(self.evaluator.completion(later[0], moved, case.spacing_mm)),
        }


class _Case:
    """One heart, and the rows of the table of hearts that it has got so far."""

    def __init__(self, evaluator: Any, batch: Mapping[str, Any]) -> None:
        self.evaluator = evaluator
        self.name = str(batch["case"][0])
        self.shape: Tensor = batch["shape"].cpu()
        self.covariates: Covariates = batch["covariates"]
        self.spacing_mm: list[float] = batch["spacing_mm"][0].tolist()
        self.rows: list[dict[str, Any]] = []

    def measures(self, shape: Tensor) -> Measures:
        """Measures of one heart (1, 2, *S)."""
        found: Measures = self.evaluator.measures(shape[0], self.spacing_mm)
        return found

    def note(self, source: str, shape: Tensor, **told: Any) -> Measures:
        """Add a row for a heart (1, 2, *S), and return its measures; `told` as in `add`."""
        found = self.measures(shape)
        self.add(source, found, **told)
        return found

    def add(
        self,
        source: str,
        measures: Measures,
        *,
        sample: int = 0,
        covariates: Covariates | None = None,
        to_group: float = math.nan,
        to_age: float = math.nan,
        gap: float = math.nan,
        age_years: float | None = None,
    ) -> None:
        """Add a row of measures.

        Args:
            source: of the heart.
            measures: of it.
            sample: its number.
            covariates: of the visit; None: the first.
            to_group: that it was brought to.
            to_age: years, the same.
            gap: years between visits.
            age_years: that it counts as; None: that of the covariates.
        """
        known = {name: float(value[0]) for name, value in (covariates or self.covariates).items()}
        if age_years is not None:
            known["age_years"] = age_years
        further = {TO_GROUP: to_group, TO_AGE: to_age, GAP: gap}
        self.rows.append(heart_row(source, sample, known, measures, **further))


def _flip(model: AgeingModel, case: _Case, own: Measures) -> list[MetricRow]:
    """How much larger the heart is as a man's than as a woman's, all else as it is."""
    sex = case.covariates.get("sex")
    if sex is None or "sex" not in model.conditions.names or bool(sex.isnan()[0]):
        return []
    other = case.measures(model.age(case.shape, case.covariates, {**case.covariates, "sex": 1 - sex}).cpu())
    sign = 1.0 if sex[0] < 0.5 else -1.0
    return [
        MetricRow(name, "sex_flip", sign * (other[name] - own[name]), unit)
        for name, unit in MEASURES.items()
        if name in other
    ]


def _identity(model: AgeingModel, case: _Case, aged: Tensor) -> list[MetricRow]:
    """How alike the code of the heart and those of the same heart at every age are."""
    code = model.identity(case.shape)
    others = model.identity(aged)
    if code is None or others is None:
        return []
    return [row("all", "identity_cosine", float(cosine_similarity(code, others).mean()))]


def _inner(model: AgeingModel, case: _Case, aged: Tensor) -> list[MetricRow]:
    """Whether the classifier inside finds the age of the real heart, and of those that the generator made for it.

    It is no evidence of ageing: where it knows made hearts far better than real ones, the two have agreed on a mark.
    """
    if not isinstance(model, AgeHeart):
        return []
    true = age_group(case.covariates["age_years"]).to(model.device)
    real = model.judged_group(case.shape) == true
    made = model.judged_group(aged) == torch.arange(GROUPS, device=model.device)
    return [
        row("all", "inner_age_right_real_percent", 100.0 * float(real.float().mean())),
        row("all", "inner_age_right_made_percent", 100.0 * float(made.float().mean())),
    ]
