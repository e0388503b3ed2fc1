"""report.html of a benchmark, in the look of the run reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from medreg import __version__
from medreg.reporting.formats import to_html
from medreg.reporting.html import definitions, details, figure, section, template
from medreg.reporting.pictures import Picture
from medreg.reporting.tables import Cell, Table
from medreg.studies.benchmark.job import Benchmark, Entry
from medreg.studies.benchmark.judging import Judged

FAILURES = 30  # rows of the table of cases that are missing


def page(benchmark: Benchmark, judged: Judged, tables: Sequence[Table], drawn: Sequence[Picture]) -> str:
    """Return the page."""
    plots = [picture for picture in drawn if not picture.name.startswith("case_")]
    cases = [picture for picture in drawn if picture.name.startswith("case_")]
    main, *others = tables
    sections = [section("Methods", to_html(main))]
    sections.append(section("Ranking and distributions", "".join(figure(picture) for picture in plots)))
    sections.append(section("Significance and rank scores", "".join(to_html(table) for table in others)))
    if cases:
        sections.append(section("Cases", "".join(figure(picture) for picture in cases)))
    sections.append(section("How each method was run", to_html(_methods(judged.entries)) + _settings(judged)))
    if judged.problems:
        sections.append(section("Cases that are missing", to_html(_failures(judged))))
    facts = {
        "Task": benchmark.config.name,
        "Pairs": len(benchmark.config.pairs),
        "Shape": "×".join(str(size) for size in benchmark.config.shape),
        "Methods": len(judged.entries),
        "Data": benchmark.task,
    }
    missing = [
        f"{name} was left out: {reason.splitlines()[0]}" for name, reason in benchmark.left_out.items()
    ]
    return template("report.html").substitute(
        title=escape(f"Benchmark {benchmark.name}"),
        run=escape(benchmark.out.name),
        status="finished",
        style=template("report.css").template,
        facts=definitions(facts),
        command=escape(f"medreg benchmark, settings in {benchmark.out / 'benchmark.yaml'}"),
        notices="".join(f'<p class="notice note">{escape(text)}</p>' for text in missing),
        sections="\n".join(sections),
        version=escape(__version__),
        again=escape("medreg benchmark … only=report"),
    )


def _methods(entries: Sequence[Entry]) -> Table:
    rows = []
    for entry in entries:
        version = next((record.version for record in entry.records if record.version), "")
        done = len(entry.records) - len(entry.failures)
        rows.append(
            (
                Cell(entry.method.title),
                Cell(entry.name),
                Cell(version),
                Cell(str(entry.method.threads)),
                Cell(str(done)),
                Cell(entry.method.source),
            )
        )
    header = ("method", "option", "version", "threads", "fields", "settings from")
    return Table("", header, tuple(rows))


def _settings(judged: Judged) -> str:
    shown = "".join(
        f"<dt>{escape(entry.name)}</dt><dd><pre>{escape(_text(entry.method.request()))}</pre></dd>"
        for entry in judged.entries
    )
    return details("Settings, in full", f"<dl>{shown}</dl>", open_=False)


def _text(settings: Mapping[str, Any]) -> str:
    import yaml

    return str(yaml.safe_dump(dict(settings), sort_keys=False))


def _failures(judged: Judged) -> Table:
    rows = [
        (Cell(name), Cell(case), Cell(reason))
        for name, reasons in judged.problems.items()
        for case, reason in reasons.items()
    ]
    more = (f"and {len(rows) - FAILURES} more, in failures.csv",) if len(rows) > FAILURES else ()
    return Table("", ("method", "case", "why"), tuple(rows[:FAILURES]), more)
