"""The sections that runs of any kind have: results and training at the top, provenance and citation at the end."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pandas as pd
from markupsafe import Markup

from medreg.reporting.cells import number
from medreg.reporting.citations import entries_for
from medreg.reporting.facts import environment_rows
from medreg.reporting.page import (
    Section,
    boxes,
    definitions,
    details,
    figure,
    paragraph,
    to_html,
    verbatim,
)
from medreg.reporting.pictures import box_pictures, curves_picture
from medreg.reporting.results import RunFolder
from medreg.reporting.tables import (
    Table,
    by_split,
    overall_structure,
    split_tables,
    unit_of,
    with_means,
    worst_cases,
)
from medreg.reporting.vocabulary import UNREGISTERED, describe, heading, in_order

BOXES = "Line: median; box: quartiles; whiskers: last case within 1.5 box lengths."
WORST = 10  # rows of the table of worst cases; a run with no more cases shows them all


def results(run: RunFolder, *, judged: int = -1, tests: bool = True) -> Iterator[Section]:
    """Summary, box plots, numbers by structure and the worst cases of every data set and split.

    Args:
        run: The files of the run.
        judged: Place of the method whose worst cases are shown; the last one is the most refined.
        tests: Whether to compare the methods by paired tests.
    """
    if run.results.empty:
        yield Section("Results", (paragraph("No case has been evaluated yet.", kind="empty"),))
    for i, (name, rows) in enumerate(by_split(run.results)):
        first, *others = split_tables(rows, tests=tests)
        pictures = box_pictures(rows, prefix=f"box{i or ''}")
        body = [to_html(first), *([paragraph(BOXES, kind="hint")] if pictures else [])]
        body.append(boxes(*map(figure, pictures)))
        if others:
            body.append(details("Numbers by structure", boxes(*map(to_html, others))))
        yield Section(f"Results: {name}", (*body, *_worst(rows, judged)), tuple(pictures))


def training(run: RunFolder) -> Iterator[Section]:
    """Curves of training and validation."""
    picture = curves_picture(run.history)
    if picture is not None:
        yield Section("Training", (figure(picture),), (picture,))


def provenance(run: RunFolder) -> Iterator[Section]:
    """How to repeat the run."""
    body = [details("Environment", definitions(environment_rows(run.record)), opened=False)]
    if run.config:
        body.append(details("Configuration, resolved", verbatim(run.config), opened=False))
    split = run.path / "split.csv"
    if split.is_file():
        text = split.read_text(encoding="utf-8", errors="replace")
        body.append(details("Split", verbatim(text[:20000]), opened=False))
    yield Section("Provenance", tuple(body))


def citation(run: RunFolder) -> Iterator[Section]:
    """What to cite."""
    entries = entries_for(run.record)
    if entries:
        told = paragraph("Parts of this run come from the following work.")
        yield Section("Citation", (told, verbatim("".join(entries))))


def _worst(rows: pd.DataFrame, judged: int) -> Iterator[Markup]:
    """A table of the cases that went worst, by the first metric that has a direction."""
    full = with_means(rows)
    methods = [str(name) for name in pd.unique(full["method"]) if name != UNREGISTERED]
    for metric in in_order({str(name) for name in full["metric"]}) if methods else []:
        table = worst_cases(full, method=methods[judged], metric=metric, count=WORST)
        if table.empty or overall_structure(full, metric) is None:
            continue
        text = partial(_text, digits=describe(metric).decimals)
        shown = Table.of_frame(table, text, title=heading(metric, unit_of(full, metric)))
        yield details(f"The {len(shown.rows)} cases that went worst", to_html(shown))
        return


def _text(value: object, *, digits: int) -> str:
    return number(value, digits) if isinstance(value, float) else str(value)
