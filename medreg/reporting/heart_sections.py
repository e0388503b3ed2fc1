"""Sections of a run that completes and generates hearts: hearts side by side, curves, distributions, the worst."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from medreg.errors import DataError
from medreg.reporting import sections
from medreg.reporting.cells import number
from medreg.reporting.heart_curves import curve_panels, read_curves, volumes_ml
from medreg.reporting.heart_distributions import boxes_by_age, violins
from medreg.reporting.heart_effects import (
    control_rows,
    controls_of,
    draw_effects,
    effects_of,
    percent_table,
    steps_of,
)
from medreg.reporting.heart_facts import error_table, fact_table
from medreg.reporting.heart_pictures import compared_beats, compared_views
from medreg.reporting.heart_style import source_word
from medreg.reporting.heart_tables import (
    SHOWN,
    compared,
    made_source,
    measured,
    pooled,
    read_measures,
    single,
)
from medreg.reporting.page import Section, boxes, details, figure, paragraph, to_html
from medreg.reporting.pictures import Picture
from medreg.reporting.results import RunFolder, read_case
from medreg.reporting.tables import Cell, Table, by_split, split_tables
from medreg.reporting.views import Array
from medreg.reporting.vocabulary import describe

# Metrics of the first table of a page; the others are folded away.
HEADLINE = (
    "dice",
    "dice_later",
    "dice_es",
    "hd_mm",
    "assd_mm",
    "lost_structures",
    "time_s",
    "peak_memory_mib",
)
MEASURED = ("measure_error", "measure_bias")  # which have a table of their own
LIMIT = 4  # cases with pictures on the page; each has two
NEEDS = ("label", "spacing_mm")
OTHERS = ("completed", "reconstructed", "generated")  # arrays beside the real heart, in their order
ALIKE = ("completed", "reconstructed")  # of the same person
EXTREMES = ("best", "median", "worst")
FOLDER = "extremes"
CASES_TOLD = (
    "Each heart at end-diastole (ED) and end-systole (ES), and over the cycle. The short axis is seen from the apex, "
    "long axes have the base on top. A completed heart was made from the real ED frame; the real outline is drawn on "
    "it. A generated heart is of another person with the same conditions. Voxels are smoothed for the picture only."
)
CURVES_TOLD = "Line: median over hearts; band: 5 % to 95 %. ED is the first frame."
VIOLINS_TOLD = (
    "Thick line: median; thin lines: quartiles. W1: 1-Wasserstein distance between real and {made} hearts, also in "
    "standard deviations of all real hearts of the test."
)
BOXES_TOLD = (
    "Above each pair: W1 in standard deviations of all real hearts of the test; large for few hearts."
)
EFFECTS_TOLD = (
    "Linear regression of each measure on all conditions together, in real hearts and in hearts of the model. Shaded "
    "rows with open dots: the population has no such effect, so that the model must not show one. At the right: the "
    "effect as a share of the real one."
)
WORST_TOLD = "By the mean Dice over structures and frames of the sequence completed from ED."


def results(run: RunFolder) -> Iterator[Section]:
    """What every run has, of the metrics that matter most; errors of measures; everything else folded away."""
    rows = single(run)
    chosen = rows[rows["metric"].isin(HEADLINE)] if len(rows) else rows
    yield from sections.results(replace(run, results=chosen if len(chosen) else rows), judged=0, tests=False)
    body: list[str] = []
    errors = error_table(rows) if len(rows) else None
    if errors is not None:
        body.append(to_html(errors))
    if len(chosen) and len(chosen) < len(rows):
        further = [
            table
            for _, own in by_split(rows[~rows["metric"].isin((*HEADLINE, *MEASURED))])
            for table in split_tables(own, tests=False)
        ]
        body.append(details("Further numbers", boxes(*map(to_html, further)), opened=False))
    if body:
        yield Section("Measures and further numbers", tuple(body))


def facts(run: RunFolder) -> Iterator[Section]:
    """Frames, whether hearts can be told apart from real ones, memorisation, control."""
    table = fact_table(pooled(run), single(run))
    if table is not None:
        yield Section("In few words", (to_html(table),))


def cases(run: RunFolder) -> Iterator[Section]:
    """Real beside completed and generated hearts in three views, and over time."""
    pictures: list[Picture] = []
    notes: list[str] = []
    for file in run.cases[:LIMIT]:
        try:
            arrays = read_case(file, NEEDS)
            pictures += case_pictures(arrays, file.stem)
        except (DataError, ValueError) as error:
            notes.append(f"cases/{file.name} was left out: {error}")
    if len(run.cases) > LIMIT:
        notes.append(f"{len(run.cases) - LIMIT} more cases lie in {run.path / 'cases'}.")
    if pictures or notes:
        body = (paragraph(CASES_TOLD, kind="hint"), *map(figure, pictures))
        yield Section("Hearts", body, tuple(pictures), tuple(notes))


def curves(run: RunFolder) -> Iterator[Section]:
    """Volumes over the cycle of real, completed and generated hearts."""
    found = read_curves(run) or _curves_of_cases(run)
    drawn = curve_panels(found)
    if drawn is None:
        return
    counts = {name: len(next(iter(by.values()))) for name, by in found.items()}
    told = ", ".join(f"{count} {source_word(name)}" for name, count in counts.items())
    alt = "Median volumes of left ventricle, myocardium and right ventricle over the cycle."
    picture = Picture.of(drawn, "heart_curves", caption=f"Hearts: {told}.", alt=alt)
    yield Section(
        "Volumes over the cycle", (paragraph(CURVES_TOLD, kind="hint"), figure(picture)), (picture,)
    )


def distributions(run: RunFolder) -> Iterator[Section]:
    """Measures of real against generated (or aged) hearts, by sex and age group."""
    hearts = compared(read_measures(run))
    made = made_source(hearts)
    names = measured(hearts, SHOWN)
    if made is None or not names:
        return
    pictures, body = [], []
    by_sex = violins(hearts, names, made=made)
    if by_sex is not None:
        alt = f"Violins of {len(names)} measures of real and {made} hearts by sex."
        pictures.append(Picture.of(by_sex, "heart_distributions", caption="", alt=alt))
        body += [paragraph(VIOLINS_TOLD.format(made=made), kind="hint"), figure(pictures[-1])]
    by_age = boxes_by_age(hearts, names, made=made)
    if by_age is not None:
        alt = f"Boxes of {len(names)} measures of real and {made} hearts by sex and age group."
        pictures.append(Picture.of(by_age, "heart_distributions_age", caption="", alt=alt))
        body += [paragraph(f"{sections.BOXES} {BOXES_TOLD}", kind="hint"), figure(pictures[-1])]
    if pictures:
        yield Section(f"Real and {made} hearts", tuple(body), tuple(pictures))


def effects(run: RunFolder) -> Iterator[Section]:
    """Effects of the conditions in real and in made hearts, with those that ought to be null."""
    rows = pooled(run)
    found, steps = effects_of(rows), steps_of(run)
    made = made_source(read_measures(run)) or "generated"
    drawn = draw_effects(found, made=made, steps=steps, controls=controls_of(rows))
    if drawn is None:
        return
    alt = "Coefficients of the conditions in a regression of each measure, real beside made hearts, with intervals."
    picture = Picture.of(drawn, "heart_effects", caption="", alt=alt)
    body = [
        paragraph(EFFECTS_TOLD, kind="hint"),
        figure(picture),
        to_html(percent_table([each for each in found if each.measure in SHOWN], steps)),
    ]
    null = tuple(tuple(map(Cell, row)) for row in control_rows(rows, steps))
    if null:
        header = ("effect that the population does not have", made, "real")
        body.append(to_html(Table("Negative controls, per cent of the mean", header, null)))
    yield Section("Effects of the conditions", tuple(body), (picture,))


def extremes(run: RunFolder) -> Iterator[Section]:
    """The best, the median and the worst completion."""
    pictures: list[Picture] = []
    notes: list[str] = []
    for name in reversed(EXTREMES):
        file = run.path / FOLDER / f"{name}.npz"
        if not file.is_file():
            continue
        try:
            pictures += _extreme(file, name)
        except (DataError, ValueError) as error:
            notes.append(f"{FOLDER}/{file.name} was left out: {error}")
    if pictures or notes:
        body = (paragraph(WORST_TOLD, kind="hint"), *map(figure, pictures))
        yield Section("Worst, median and best completion", body, tuple(pictures), tuple(notes))


def case_pictures(arrays: Mapping[str, Array], name: str) -> Iterator[Picture]:
    """Two pictures of a case as it is stored in `cases/<case>.npz`, (T, X, Y, Z) each.

    Raises:
        ValueError: hearts of other sizes than the real one.
    """
    hearts = hearts_of(arrays)
    same = [source for source in ALIKE if source in hearts]
    words = ", ".join(source_word(source) for source in hearts)
    views = compared_views(hearts, arrays["spacing_mm"], alike=same)
    alt = f"Hearts of case {name}: {words}, in three views at ED and ES."
    yield Picture.of(views, f"hearts_{name}", caption=f"{name}: {words}.", alt=alt, dpi=130)
    if len(hearts["real"]) > 2:
        beats = compared_beats(hearts, arrays["spacing_mm"], alike=same)
        alt = f"Hearts of case {name} over the cycle, long axis through both ventricles."
        caption = f"{name} over the cycle, long axis through both ventricles."
        yield Picture.of(beats, f"beats_{name}", caption=caption, alt=alt, dpi=130)


def hearts_of(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The hearts of a case by source, the real one first.

    Raises:
        ValueError: one of them has no time, or is of another size.
    """
    hearts = {"real": arrays["label"], **{name: arrays[name] for name in OTHERS if name in arrays}}
    shapes = {name: array.shape for name, array in hearts.items()}
    if len(shapes["real"]) != 4 or len({shape[1:] for shape in shapes.values()}) > 1:
        raise ValueError(f"hearts over time on one grid are needed, but they have the shapes {shapes}")
    return hearts


def _extreme(file: Path, name: str) -> Iterator[Picture]:
    """The picture of the best, the median or the worst case; none of a model that does not complete hearts."""
    arrays = read_case(file, (*NEEDS, "case", "score", "metric"))
    if "completed" not in arrays:
        return
    hearts = {source: hearts_of(arrays)[source] for source in ("real", "completed")}
    drawn = compared_views(hearts, arrays["spacing_mm"], alike=["completed"])
    known = describe(str(arrays["metric"]))
    case, score = str(arrays["case"]), number(float(arrays["score"]), known.decimals)
    yield Picture.of(
        drawn,
        f"extreme_{name}",
        caption=f"{name}: {case}, {known.label} {score}.",
        alt=f"The {name} completion beside the real heart, in three views at ED and ES.",
        dpi=130,
    )


def _curves_of_cases(run: RunFolder) -> dict[str, dict[str, Array]]:
    """Curves of the few cases whose arrays were kept, where no table has more."""
    rows: dict[str, list[Array]] = {}
    for file in run.cases:
        try:
            arrays = read_case(file, NEEDS)
            for name, shape in hearts_of(arrays).items():
                rows.setdefault(name, []).append(volumes_ml(shape, arrays["spacing_mm"]))
        except (DataError, ValueError):
            continue
    frames = [len(volumes[0]) for volumes in rows.get("real", [])]
    kept = {name: [v for v in found if v.shape[1] == frames[0]] for name, found in rows.items() if frames}
    return {
        name: dict(zip(("LV", "MYO", "RV"), np.stack(found, axis=1), strict=True))
        for name, found in kept.items()
        if found
    }
