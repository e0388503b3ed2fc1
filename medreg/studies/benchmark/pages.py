"""report.html of a benchmark, in the look of the run reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
from markupsafe import Markup

from medreg.reporting.page import (
    Page,
    Section,
    definitions,
    details,
    figure,
    render,
    to_html,
    verbatim,
)
from medreg.reporting.pictures import Picture
from medreg.reporting.tables import Table
from medreg.studies.benchmark.judging import Judged
from medreg.studies.benchmark.plan import Benchmark, Entry

FAILURES = 30  # rows of the table of cases that are missing


def page(benchmark: Benchmark, judged: Judged, tables: Sequence[Table], drawn: Sequence[Picture]) -> str:
    """Return the page."""
    plots = [figure(picture) for picture in drawn if not picture.name.startswith("case_")]
    cases = [figure(picture) for picture in drawn if picture.name.startswith("case_")]
    main, *others = tables
    sections = [
        Section("Methods", (to_html(main),)),
        Section("Ranking and distributions", tuple(plots)),
        Section("Significance and rank scores", tuple(map(to_html, others))),
    ]
    if cases:
        sections.append(Section("Cases", tuple(cases)))
    how = (to_html(_methods(judged.entries)), _settings(judged))
    sections.append(Section("How each method was run", how))
    if judged.problems:
        sections.append(Section("Cases that are missing", (to_html(_failures(judged)),)))
    facts = {
        "Task": benchmark.config.name,
        "Pairs": len(benchmark.config.pairs),
        "Shape": "×".join(str(size) for size in benchmark.config.shape),
        "Methods": len(judged.entries),
        "Data": benchmark.task,
    }
    whole = Page(
        title=f"Benchmark {benchmark.name}",
        name=benchmark.out.name,
        status="finished",
        facts=facts,
        command=f"medreg benchmark, settings in {benchmark.out / 'benchmark.yaml'}",
        sections=sections,
        again="medreg benchmark … only=report",
        notices=[
            ("note", f"{name} was left out: {reason.splitlines()[0]}")
            for name, reason in benchmark.left_out.items()
        ],
    )
    return render(whole)


def _methods(entries: Sequence[Entry]) -> Table:
    rows = []
    for entry in entries:
        method, version = entry.method, next((cost["version"] for cost in entry.costs.values()), "")
        rows.append((method.title, entry.name, version, method.threads, len(entry.costs), method.source))
    header = ["method", "option", "version", "threads", "fields", "settings from"]
    return Table.of_frame(pd.DataFrame(rows, columns=header))


def _settings(judged: Judged) -> Markup:
    shown = {entry.name: verbatim(_text(entry.method.request())) for entry in judged.entries}
    return details("Settings, in full", definitions(shown), opened=False)


def _text(settings: Mapping[str, Any]) -> str:
    import yaml

    return str(yaml.safe_dump(dict(settings), sort_keys=False))


def _failures(judged: Judged) -> Table:
    rows = judged.missing()
    more = (f"and {len(rows) - FAILURES} more, in failures.csv",) if len(rows) > FAILURES else ()
    return replace(Table.of_frame(rows.head(FAILURES)), notes=more)
