"""What λ does to the answers of a conditional model, drawn into its run folder with the numbers as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from medreg.models.chosen_smoothness import ChosenSmoothness
from medreg.reporting.style import save
from medreg.runs.trained import TrainedRun
from medreg.studies.smoothness.curve import smoothness_curve
from medreg.studies.smoothness.curves_figure import smoothness_curve_figure
from medreg.studies.smoothness.maps_figure import field_sheet
from medreg.studies.smoothness.planes import field_plane, uniform_answers
from medreg.studies.smoothness.result import FOLDER
from medreg.studies.smoothness.run_cases import Cases
from medreg.studies.smoothness.scores import Scores
from medreg.studies.smoothness.two_regions import answers, region_of, two_region_rows
from medreg.study.view import write_csv

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIELDS, MAPS = ("grid", "magnitude", "jacobian"), ("smoothness", "grid", "energy")


def draw_curve(
    run: TrainedRun, weights: Sequence[float], others: Sequence[TrainedRun], cases: Cases
) -> list[Path]:
    """Draw Dice against smoothness over λ, beside runs that were trained for one λ each."""
    table = smoothness_curve(run, weights, others, cases, Scores(run.folder / FOLDER))
    title = f"{run.folder.name}, {len(cases.batches)} {cases.split} cases"
    return _kept(run, "curve", table, smoothness_curve_figure(table, title=title))


def draw_fields(run: TrainedRun, weights: Sequence[float], cases: Cases, case: int) -> list[Path]:
    """Draw the fields of one case for several λ."""
    batch = cases.batches[case]
    planes = [field_plane(batch, answer) for answer in uniform_answers(run, batch, list(weights))]
    scores, only = Scores(run.folder / FOLDER), replace(cases, batches=[batch])
    rows = [
        {"case": one.case, "smoothness": smoothness, **one.values}
        for smoothness in weights
        for one in scores.of(run, ChosenSmoothness(smoothness), only)
    ]
    return _kept(run, "fields", pd.DataFrame(rows), field_sheet(planes, rows=FIELDS, title=batch["case"][0]))


def draw_two_regions(
    run: TrainedRun, cases: Cases, case: int, *, codes: Sequence[int] | None, low: float, high: float
) -> list[Path]:
    """Draw the answers of one case to maps with two λ: map, field, local smoothness."""
    batch = cases.batches[case]
    found = answers(run, batch, region_of(batch, codes), low=low, high=high)
    sheet = field_sheet([field_plane(batch, answer) for answer in found], rows=MAPS, title=batch["case"][0])
    table = pd.DataFrame(two_region_rows(run, cases, codes, low=low, high=high))
    return _kept(run, "two_regions", table, sheet)


def _kept(run: TrainedRun, name: str, table: pd.DataFrame, figure: Figure) -> list[Path]:
    file = write_csv(table, run.folder / FOLDER / f"{name}.csv", digits=7)
    return [file, save(figure, run.folder / "figures" / f"smoothness_{name}.png")]
