"""Sections of a run that makes hearts older or younger: the course over age groups, identity, second visits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from medreg.errors import DataError
from medreg.metrics.hearts.sources import AGED, REAL
from medreg.reporting.cells import NONE, number
from medreg.reporting.heart_ageing_plots import (
    MEASURES,
    NO_CHANGE,
    by_group,
    identity,
    visit_pairs,
    visits,
)
from medreg.reporting.heart_ageing_strip import heart_ageing_strip
from medreg.reporting.heart_effects import lookup_of
from medreg.reporting.heart_tables import GROUPS, measure, pooled, read_every_real, read_measures, single
from medreg.reporting.page import Section, figure, paragraph, to_html
from medreg.reporting.pictures import Picture
from medreg.reporting.results import RunFolder, read_case
from medreg.reporting.tables import Cell, Table
from medreg.reporting.views import Array

LIMIT = 3  # hearts whose ages are shown
INNER = (
    ("real hearts", "inner_age_right_real_percent"),
    ("the same hearts, brought to every group", "inner_age_right_made_percent"),
)
STRIP_TOLD = (
    "The same heart brought to every age group. Above end-diastole (ED), below end-systole (ES), each in the short "
    "axis and in the long axis through both ventricles; the dark outline is that of the real heart."
)
GROUP_TOLD = (
    "Mean and 95 % interval. The real people of a group, of test and training, are others than those who were brought "
    "to it; people of one sex differ little in size between groups, so that both lines should fall alike."
)
IDENTITY_TOLD = (
    "A heart that grows old stays that person's: large hearts stay large. Correlations are within a sex, since women "
    "and men alone would correlate."
)
VISITS_TOLD = (
    "Change from the first to the second visit. Predicted: the aged heart less the heart that the model gives back at"
    " the first visit. No change: the bias of a model that leaves hearts as they are. Bars: 95 % intervals."
)
COLLUSION_TOLD = (
    "The classifier of ages inside the model learns with it and is no evidence: where it is far better on made hearts"
    " than on real ones, model and classifier have agreed on a mark of age that real hearts do not bear."
)


def ages(run: RunFolder) -> Iterator[Section]:
    """Hearts brought to every age group, in a row each."""
    pictures: list[Picture] = []
    notes: list[str] = []
    for file in run.cases[:LIMIT]:
        try:
            arrays = read_case(file, ("label", "spacing_mm"))
            if "aged" in arrays:
                pictures.append(_strip(arrays, file.stem))
        except (DataError, ValueError) as error:
            notes.append(f"cases/{file.name} was left out: {error}")
    if pictures or notes:
        body = (paragraph(STRIP_TOLD, kind="hint"), *map(figure, pictures))
        yield Section("One heart at every age", body, tuple(pictures), tuple(notes))


def course(run: RunFolder) -> Iterator[Section]:
    """Measures by age group, and whether a heart stays that person's."""
    hearts = read_measures(run)
    pictures, body = [], []
    drawn = by_group(hearts, known=read_every_real(run, hearts))
    if drawn is not None:
        alt = "Mean LVEDV, LVM and RVEDV of real and aged hearts by age group and sex."
        pictures.append(Picture.of(drawn, "ageing_groups", caption="", alt=alt))
        body += [paragraph(GROUP_TOLD, kind="hint"), figure(pictures[-1])]
    table = slope_table(pooled(run))
    if table is not None:
        body.append(to_html(table))
    same = identity(hearts)
    if same is not None:
        alt = "LVEDV of hearts in the youngest and oldest group against the same hearts as given back."
        pictures.append(Picture.of(same, "ageing_identity", caption="", alt=alt))
        body += [paragraph(IDENTITY_TOLD, kind="hint"), figure(pictures[-1])]
    if body:
        yield Section("Ageing", tuple(body), tuple(pictures))


def second_visits(run: RunFolder) -> Iterator[Section]:
    """Predicted and observed change between two visits."""
    hearts = read_measures(run)
    drawn = visits(hearts)
    if drawn is None:
        return
    alt = "Predicted against observed change of LVEDV, and the bias by the time between visits."
    picture = Picture.of(drawn, "ageing_visits", caption="", alt=alt)
    body = [paragraph(VISITS_TOLD, kind="hint"), figure(picture)]
    table = visit_table(pooled(run), {name: visit_pairs(hearts, name) for name in MEASURES})
    if table is not None:
        body.append(to_html(table))
    yield Section("Second visits", tuple(body), (picture,))


def collusion(run: RunFolder) -> Iterator[Section]:
    """The accuracy of the classifier inside the model on real and on made hearts, side by side."""
    rows = single(run)
    found = []
    for words, metric in INNER if len(rows) else ():
        values = rows.loc[rows["metric"] == metric, "value"].to_numpy(float)
        values = values[np.isfinite(values)]
        if len(values):
            found.append((Cell(words), Cell(f"{number(float(values.mean()), 0)} %"), Cell(str(len(values)))))
    if found:
        table = Table(
            "", ("classifier inside: right age group of seven", "share", "test hearts"), tuple(found)
        )
        yield Section("The classifier inside", (paragraph(COLLUSION_TOLD, kind="hint"), to_html(table)))


def slope_table(rows: pd.DataFrame) -> Table | None:
    """Change of measures with age of aged hearts beside that of real people, per step of age; None without any."""
    values = lookup_of(rows) if len(rows) else {}
    made = []
    for name in MEASURES:
        for sex, word in (("female", "women"), ("male", "men")):
            slope = values.get((name, f"ageing_slope_{sex}"), float("nan"))
            if not np.isfinite(slope):
                continue
            real, low, high = (
                values.get((name, f"ageing_slope_real_{sex}{end}"), float("nan"))
                for end in ("", "_low", "_high")
            )
            known = f"{number(real, 1, sign=True)} ({number(low, 1)} to {number(high, 1)})"
            beside = known if np.isfinite(real) else NONE
            kept = values.get((name, f"identity_r_{sex}"), float("nan"))
            told = (f"{measure(name).heading}, {word}", number(slope, 1, sign=True), beside, number(kept, 2))
            made.append(tuple(map(Cell, told)))
    header = ("measure", "aged hearts, a decade", "real people, a decade", "identity r")
    return Table("Change with age", header, tuple(made)) if made else None


def visit_table(rows: pd.DataFrame, pairs: Mapping[str, pd.DataFrame]) -> Table | None:
    """Numbers of second visits by measure: bias of long gaps, correlation, coverage; None where none is pooled."""
    values = lookup_of(rows) if len(rows) else {}
    made = []
    for name, own in pairs.items():
        parts = ("visit_bias_long", "no_change_bias_long", "visit_r", "interval_coverage_percent")
        bias, none, r, covered = (values.get((name, part), float("nan")) for part in parts)
        if own.empty or not np.isfinite([bias, r]).any():
            continue
        share = f"{number(covered, 0)} %" if np.isfinite(covered) else NONE
        cells = (number(bias, 1, sign=True), number(none, 1, sign=True), number(r, 2), share)
        made.append((Cell(measure(name).heading), *map(Cell, cells)))
    header = (
        "measure",
        "bias, long gaps",
        f"bias of {NO_CHANGE}, long gaps",
        "r of the change",
        "held by the 80 % interval",
    )
    return Table("", header, tuple(made)) if made else None


def _strip(arrays: Mapping[str, Array], name: str) -> Picture:
    """The picture of one heart at all ages.

    Raises:
        ValueError: hearts of other sizes than the real one.
    """
    aged, label = arrays["aged"], arrays["label"]
    if aged.ndim != 5 or aged.shape[2:] != label.shape[1:]:
        raise ValueError(f"aged hearts have the shape {aged.shape}, the real one {label.shape}")
    groups = arrays.get("to_group", np.arange(len(aged)))
    shapes = {
        REAL: label,
        **{GROUPS[int(group)]: heart for group, heart in zip(np.ravel(groups), aged, strict=True)},
    }
    drawn = heart_ageing_strip(
        shapes, arrays["spacing_mm"], reference=REAL, outline="outline of the real heart"
    )
    alt = f"Heart {name} as it is and brought to {len(aged)} age groups, in two views at ED and ES."
    return Picture.of(
        drawn,
        f"{AGED}_{name}",
        caption=f"{name}: real, then brought to each age group (years).",
        alt=alt,
        dpi=130,
    )
