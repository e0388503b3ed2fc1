"""report.html: one page that explains a run, without any file or address outside itself."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import pandas as pd

from medreg import __version__
from medreg.reporting.citations import entries_for
from medreg.reporting.distance_plots import distance_pictures
from medreg.reporting.facts import environment_rows, header_facts, notices
from medreg.reporting.formats import to_csv, to_html, to_latex, to_markdown
from medreg.reporting.pictures import (
    Picture,
    box_pictures,
    case_pictures,
    curves_picture,
    label_names,
    save_pictures,
)
from medreg.reporting.results import RunFolder, read_run
from medreg.reporting.tables import (
    Cell,
    Table,
    by_structure,
    headline,
    overall_structure,
    structure_metrics,
    summarise,
    with_means,
    worst_cases,
)
from medreg.reporting.vocabulary import UNREGISTERED, describe, heading, in_order

BOXES = '<p class="hint">Line: median; box: quartiles; whiskers: last case within 1.5 box lengths.</p>'
CASES = 12  # pictures of cases in one page; about 0.3 MB each
WORST = 10  # rows of the table of worst cases; a run with no more cases shows them all


def write_report(folder: str | Path) -> Path:
    """Make report.html, tables/ and figures/ of a run folder from its files; works at any moment of a run.

    Args:
        folder: The run folder.

    Returns:
        Path of report.html.

    Raises:
        DataError: If the folder is no run folder or one of its tables is damaged.
    """
    run = read_run(folder)
    pictures: list[Picture] = []
    page = _page(run, pictures)
    save_pictures(pictures, run.path / "figures")
    write_tables(run)
    target = run.path / "report.html"
    part = target.with_suffix(".part")
    part.write_text(page, encoding="utf-8")
    part.replace(target)
    return target


def write_tables(run: RunFolder) -> Path:
    """Write tables/summary.csv (tidy), and the printed tables as Markdown, LaTeX and CSV."""
    folder = run.path / "tables"
    folder.mkdir(exist_ok=True)
    summarise(with_means(run.results)).to_csv(folder / "summary.csv", index=False)
    tables = [table for _, rows in by_split(run.results) for table in _tables(rows)]
    (folder / "tables.md").write_text("\n".join(to_markdown(table) for table in tables), encoding="utf-8")
    (folder / "tables.tex").write_text("\n".join(to_latex(table) for table in tables), encoding="utf-8")
    (folder / "tables.csv").write_text("\n".join(to_csv(table) for table in tables), encoding="utf-8")
    return folder


def by_split(results: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The results of each data set and split with a heading such as "acdc, test"."""
    if not results.empty:
        for (data, split), rows in results.groupby(["data", "split"], sort=False):
            yield ", ".join(str(word) for word in (data, split) if word) or "results", rows


def _tables(rows: pd.DataFrame) -> list[Table]:
    return [headline(rows), *(by_structure(rows, metric=metric) for metric in structure_metrics(rows))]


def _page(run: RunFolder, pictures: list[Picture]) -> str:
    record = run.record
    cases, notes = case_pictures(run, limit=CASES, labels=label_names(run.config, record))
    curves = curves_picture(run.history)
    sections = [*_result_sections(run, pictures)]
    distances = distance_pictures(run.path)
    if distances:
        sections.append(section("Distance", "".join(figure(picture) for picture in distances)))
        pictures.extend(distances)
    if curves is not None:
        sections.append(section("Training", figure(curves)))
        pictures.append(curves)
    if cases:
        sections.append(section("Cases", _cases_note() + "".join(figure(picture) for picture in cases)))
        pictures.extend(cases)
    sections += [*_background(run)]
    title = f"{record['model']} on {record['data']}" if {"model", "data"} <= set(record) else run.name
    return template("report.html").substitute(
        title=escape(title),
        run=escape(run.name),
        status=escape(run.status),
        style=template("report.css").template,
        facts=definitions(header_facts(run)),
        command=escape(str(record.get("command", "not recorded"))),
        notices="".join(f'<p class="notice {kind}">{escape(text)}</p>' for kind, text in notices(run, notes)),
        sections="\n".join(sections),
        version=escape(__version__),
        again=escape(f"medreg report {run.path}"),
    )


def _result_sections(run: RunFolder, pictures: list[Picture]) -> Iterator[str]:
    if run.results.empty:
        yield section("Results", '<p class="empty">No case has been evaluated yet.</p>')
    for i, (name, rows) in enumerate(by_split(run.results)):
        first, *others = _tables(rows)
        boxes = box_pictures(rows, prefix=f"box{i or ''}")
        pictures.extend(boxes)
        body = to_html(first) + (BOXES if boxes else "")
        body += f'<div class="boxes">{"".join(figure(box) for box in boxes)}</div>'
        if others:
            tables = "".join(to_html(table) for table in others)
            body += details("Numbers by structure", f'<div class="boxes">{tables}</div>')
        yield section(f"Results: {name}", body + _worst(rows))


def _worst(rows: pd.DataFrame) -> str:
    """A table of the cases that went worst, by the first metric that has a direction."""
    full = with_means(rows)
    methods = [str(name) for name in pd.unique(full["method"]) if name != UNREGISTERED]
    for metric in in_order({str(name) for name in full["metric"]}):
        table = (
            worst_cases(full, method=methods[-1], metric=metric, count=WORST) if methods else pd.DataFrame()
        )
        if table.empty or overall_structure(full, metric) is None:
            continue
        decimals = describe(metric).decimals
        lines = [
            (Cell(str(line[0])), *(Cell("–" if pd.isna(v) else f"{v:.{decimals}f}") for v in line[1:]))
            for line in table.itertuples(index=False)
        ]
        unit = str(full.loc[full["metric"] == metric, "unit"].iloc[0])
        header = tuple(str(name) for name in table.columns)
        shown = to_html(Table(heading(metric, unit), header, tuple(lines)))
        return details(f"The {len(lines)} cases that went worst", shown)
    return ""


def _background(run: RunFolder) -> Iterator[str]:
    """How to repeat the run and what to cite."""
    body = details("Environment", definitions(environment_rows(run.record)), open_=False)
    if run.config:
        body += details("Configuration, resolved", f"<pre>{escape(run.config)}</pre>", open_=False)
    split = run.path / "split.csv"
    if split.is_file():
        text = split.read_text(encoding="utf-8", errors="replace")
        body += details("Split", f"<pre>{escape(text[:20000])}</pre>", open_=False)
    yield section("Provenance", body)
    entries = entries_for(run.record)
    if entries:
        shown = f"<p>Parts of this run come from the following work.</p><pre>{escape(''.join(entries))}</pre>"
        yield section("Citation", shown)


def _cases_note() -> str:
    return (
        '<p class="hint">Slices are shown in stored order, volumes with the patient’s right on the left. '
        "The grid is regular on the moving image and drawn where the warped image shows it. Jacobian "
        "determinant: below 1 the fixed image is mapped to a smaller region of the moving image, above 1 to "
        "a larger one; yellow marks folds.</p>"
    )


def section(title: str, body: str) -> str:
    """A section with its heading; the body is HTML."""
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def details(title: str, body: str, *, open_: bool = True) -> str:
    """A part that can be folded away; the body is HTML."""
    return f"<details{' open' if open_ else ''}><summary>{escape(title)}</summary>{body}</details>"


def figure(picture: Picture) -> str:
    """A picture inside the page, with caption and alternative text."""
    data = base64.b64encode(picture.png).decode("ascii")
    caption = f"<figcaption>{escape(picture.caption)}</figcaption>" if picture.caption else ""
    source = f"data:image/png;base64,{data}"
    image = f'<img src="{source}" width="{picture.width * 100:.0f}" alt="{escape(picture.alt)}">'
    return f'<figure id="{escape(picture.name)}">{image}{caption}</figure>'


def definitions(facts: Mapping[str, Any]) -> str:
    """Facts as a list of name and value; all text is escaped."""
    rows = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(str(v))}</dd></div>" for k, v in facts.items())
    return f"<dl>{rows}</dl>"


def template(name: str) -> Template:
    """A file of the folder `templates`."""
    return Template((resources.files("medreg.reporting") / "templates" / name).read_text(encoding="utf-8"))
