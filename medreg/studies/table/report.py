"""Write a table: Markdown, LaTeX, CSV, a figure and a page, in `outputs/tables/<paper>/<name>/<scale>/`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from medreg.io.atomic import write_text
from medreg.reporting.formats import to_latex, to_markdown
from medreg.reporting.page import Page, Section, figure, paragraph, render, to_html, verbatim
from medreg.reporting.pictures import Picture, save_pictures
from medreg.reporting.tables import Table
from medreg.studies.table.claims import ClaimAnswer, answer, parse_claim
from medreg.studies.table.estimates import Comparison, TableResults, compare_rows, estimate
from medreg.studies.table.figure import table_figure
from medreg.studies.table.further_figures import further_figures
from medreg.studies.table.places import Place
from medreg.studies.table.published import read_published
from medreg.studies.table.sheets import (
    PublishedNumbers,
    best_of,
    claim_sheet,
    cost_sheet,
    main_sheet,
    test_sheet,
)
from medreg.study.view import write_csv

CAPTION = (
    "Faint dots: cases. Strokes: means of seeds. Dot and line: mean with its 95 % bootstrap interval over cases. "
    "Diamond: published value."
)


@dataclass(frozen=True)
class Report:
    """Everything that is printed of a table.

    Attributes:
        sheets: the numbers, tests, claims, cost; those that there are.
        answers: of the claims.
        comparisons: with the reference.
    """

    place: Place
    results: TableResults
    published: PublishedNumbers
    comparisons: tuple[Comparison, ...]
    answers: tuple[ClaimAnswer, ...]
    sheets: tuple[Table, ...]

    @property
    def command(self) -> str:
        """The command that makes the table."""
        return f"medreg table {self.place} --scale {self.results.scale}"

    def differing(self) -> list[ClaimAnswer]:
        """Return the claims whose answer is not the one that the table file expects."""
        scale = self.results.scale
        return [a for a in self.answers if a.expected(scale) not in (None, a.answer)]


def make_report(place: Place, results: TableResults) -> Report:
    """Compute everything that is printed."""
    published = read_published(place.published, place.name, results.table)
    comparisons = tuple(compare_rows(results))
    answers = tuple(_answer(results, number) for number in range(len(results.table.claims)))
    sheets = (
        main_sheet(results, published), test_sheet(results, comparisons), claim_sheet(results, answers),
        cost_sheet(results),
    )  # fmt: skip
    return Report(place, results, published, comparisons, answers, tuple(s for s in sheets if s is not None))


def _answer(results: TableResults, number: int) -> ClaimAnswer:
    spec = results.table.claims[number]
    terms = parse_claim(spec.claim).terms
    return answer(spec, {term: results.values(*term) for term in terms}, results.table)


def write_report(report: Report, folder: Path) -> Path:
    """Write every format; return the page."""
    commands = _commands(report.results)
    body = "\n".join(to_markdown(sheet) for sheet in report.sheets)
    listed = f"\n```bash\n{report.command}\n{commands}```\n"
    write_text(folder / "table.md", f"{body}{listed}")
    write_text(folder / "table.tex", "\n".join(to_latex(sheet) for sheet in report.sheets))
    write_csv(tidy(report), folder / "table.csv")
    drawn = table_figure(report.results, report.published)
    alt = "Rows of the table, one panel a column."
    picture = None if drawn is None else Picture.of(drawn, "figure", caption=CAPTION, alt=alt)
    more = further_figures(report.results)
    save_pictures([*more] if picture is None else [picture, *more], folder)
    return write_text(folder / "table.html", render(_page(report, commands, picture, more)))


def _page(report: Report, commands: str, picture: Picture | None, more: Sequence[Picture]) -> Page:
    results, table = report.results, report.results.table
    return Page(
        title=table.title,
        name=f"{report.place}, scale {results.scale}",
        status="",
        facts={term: text for term, text in (("Data", table.data), ("Protocol", table.protocol)) if text},
        command=report.command,
        sections=list(_sections(report, commands, picture, more)),
        again=report.command,
    )


def _sections(
    report: Report, commands: str, picture: Picture | None, more: Sequence[Picture]
) -> Iterator[Section]:
    results, first = report.results, report.sheets[0]
    about = results.table.scales[results.scale].about  # type: ignore[index]
    told = [paragraph(text) for text in (results.table.about, results.table.source, about) if text]
    shown = () if picture is None else (figure(picture),)
    yield Section("Results", (*told, to_html(first), *shown))
    for sheet in report.sheets[1:]:
        yield Section(sheet.title, (to_html(Table("", sheet.header, sheet.rows, sheet.notes)),))
    if more:
        yield Section("Figures", tuple(figure(one) for one in more))
    yield Section("Commands", (verbatim(commands),))


def _commands(results: TableResults) -> str:
    """The command of every run, to copy."""
    lines = [
        f"{f['command']}  # {row}, seed {seed}"
        for (row, seed), f in results.facts.items()
        if f.get("command")
    ]
    return "".join(f"{line}\n" for line in lines)


def tidy(report: Report) -> pd.DataFrame:
    """Return one line a cell: means, spreads, counts, tests, published value."""
    results, lines = report.results, []
    tests = {(test.row, test.column): test for test in report.comparisons}
    for column, spec in results.table.columns.items():
        best = best_of(results, column)
        for row in results.rows:
            cell, test = estimate(results.values(row, column)), tests.get((row, column))
            theirs = report.published.get((row, column))
            states = {s.state for (name, _), s in results.standings.items() if name == row}
            lines.append(
                {
                    "row": row, "column": column, "metric": spec.metric, "unit": results.unit(column),
                    **({} if cell is None else vars(cell)), "best": row in best,
                    "difference": test.difference.mean if test else None,
                    "low": test.difference.low if test else None, "high": test.difference.high if test else None,
                    "p_cases": test.p_cases if test else None, "p_seeds": test.p_seeds if test else None,
                    "published": theirs.value if theirs else None,
                    "standing": theirs.standing if theirs else None,
                    "less_published": cell.mean - theirs.value if theirs and cell else None,
                    "state": " ".join(sorted(states)),
                }
            )  # fmt: skip
    return pd.DataFrame(lines)
