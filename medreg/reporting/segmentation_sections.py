"""Sections of the report of a segmentation: phases of the heart, best and worst cases, corrupted images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pandas as pd

from medreg.errors import DataError
from medreg.reporting.case_pictures import label_names
from medreg.reporting.cells import number
from medreg.reporting.label_pictures import HINT, NEEDS, draw
from medreg.reporting.page import Section, boxes, figure, paragraph, to_html
from medreg.reporting.pictures import Picture
from medreg.reporting.results import RunFolder, read_case
from medreg.reporting.robustness import CLEAN, corruption_of, draw_by_kind, with_corruption
from medreg.reporting.tables import Table, by_split, by_structure, methods_in, metrics_to_show
from medreg.reporting.vocabulary import describe

PHASE_METRICS = ("dice", "hd95_mm", "hd_mm", "assd_mm", "volume_error_ml")
ORDER = ("ED", "ES")  # first of all phases
FOLDER = "extremes"
EXTREMES = ("best", "median", "worst")
PHASES_TOLD = "Mean ± SD over the cases of a phase, median below. ED is end-diastole, ES end-systole."
KINDS_TOLD = (
    "Test images with artefacts, each kind by itself; all copies of an image count. Boxes are of the mean over "
    "structures."
)


def phases(run: RunFolder) -> Iterator[Section]:
    """Numbers by structure and phase, where cases have phases."""
    for name, rows in by_split(run.results):
        known = rows[rows["phase"] != ""] if "phase" in rows else rows[:0]
        if known["case"].nunique():
            tables = [_across(known, metric, "phase") for metric in _shown(known)]
            body = (paragraph(PHASES_TOLD, kind="hint"), boxes(*map(to_html, tables)))
            yield Section(f"By phase: {name}", body)


def extremes(run: RunFolder) -> Iterator[Section]:
    """The best, the median and the worst case, with true and predicted outlines."""
    pictures, notes = [], []
    labels = label_names(run.config, run.record)
    for name in EXTREMES:
        file = run.path / FOLDER / f"{name}.npz"
        if not file.is_file():
            continue
        try:
            arrays = read_case(file, (*NEEDS, "case", "score", "metric"))
            drawn = draw(arrays, f"{name}: {arrays['case']}", labels)
        except (DataError, ValueError) as error:
            notes.append(f"{FOLDER}/{file.name} was left out: {error}")
            continue
        known = describe(str(arrays["metric"]))
        caption = f"{name}: {arrays['case']}, {known.label} {number(float(arrays['score']), known.decimals)}."
        alt = f"The {name} case with true and with predicted outlines."
        pictures.append(Picture.of(drawn, f"extreme_{name}", caption=caption, alt=alt, dpi=110))
    if pictures or notes:
        body = (paragraph(HINT, kind="hint"), *map(figure, pictures))
        yield Section("Best, median and worst case", body, tuple(pictures), tuple(notes))


def robustness(run: RunFolder) -> Iterator[Section]:
    """Results by the kind of corruption, where there are corrupted cases."""
    kinds, strength = corruption_of(run)
    for place, (name, rows) in enumerate(by_split(run.results)):
        told = with_corruption(rows, kinds, strength=strength)
        if (told["kind"] == CLEAN).all():
            continue
        tables = [_across(told, metric, "kind") for metric in _shown(told)]
        drawn = draw_by_kind(told)
        pictures = [] if drawn is None else [_kinds_picture(drawn, place)]
        body = (
            paragraph(f"{KINDS_TOLD} Strength {strength:g}.", kind="hint"),
            *map(figure, pictures),
            boxes(*map(to_html, tables)),
        )
        yield Section(f"Robustness: {name}", body, tuple(pictures))


def _kinds_picture(drawn: object, place: int) -> Picture:
    alt = "Box plots of Dice by the kind of corruption."
    return Picture.of(drawn, f"robustness{place or ''}", caption="", alt=alt)  # type: ignore[arg-type]


def _shown(rows: pd.DataFrame) -> list[str]:
    return [metric for metric in metrics_to_show(rows) if metric in PHASE_METRICS]


def _across(rows: pd.DataFrame, metric: str, column: str) -> Table:
    """One row a structure, one column a value of `column` (and method, where there are several); none is the best."""
    several = len(methods_in(rows)) > 1
    named = rows["method"] + ", " + rows[column] if several else rows[column]
    values = sorted(pd.unique(rows[column]), key=_rank)
    ordered = pd.concat([rows.assign(method=named)[rows[column] == value] for value in values])
    table = by_structure(ordered, metric=metric)
    plain = tuple(tuple(replace(cell, bold=False) for cell in row) for row in table.rows)
    return replace(table, rows=plain, notes=table.notes[1:])


def _rank(value: str) -> tuple[int, str]:
    """ED, ES, others; the clean images first of all."""
    known = (CLEAN, *ORDER)
    return (known.index(value) if value in known else len(known), value)
