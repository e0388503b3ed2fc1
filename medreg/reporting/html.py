"""report.html: one page that explains a run, without any file or address outside itself."""

from __future__ import annotations

from pathlib import Path

from medreg.io.atomic import write_text
from medreg.reporting.facts import header_facts, notices
from medreg.reporting.formats import to_csv, to_latex, to_markdown
from medreg.reporting.page import Page, render
from medreg.reporting.pictures import save_pictures
from medreg.reporting.results import RunFolder, read_run
from medreg.reporting.section import draw_sections
from medreg.reporting.sections import citation, provenance
from medreg.reporting.tables import by_split, split_tables, summarise, with_means


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
    sections = [*draw_sections(run), *provenance(run), *citation(run)]
    record = run.record
    page = Page(
        title=f"{record['model']} on {record['data']}" if {"model", "data"} <= set(record) else run.name,
        name=run.name,
        status=run.status,
        facts=header_facts(run),
        command=str(record.get("command", "not recorded")),
        sections=sections,
        again=f"medreg report {run.path}",
        notices=notices(run, [note for section in sections for note in section.notes]),
    )
    save_pictures([picture for section in sections for picture in section.pictures], run.path / "figures")
    write_tables(run)
    return write_text(run.path / "report.html", render(page))


def write_tables(run: RunFolder) -> Path:
    """Write tables/summary.csv (tidy), and the printed tables as Markdown, LaTeX and CSV."""
    folder = run.path / "tables"
    folder.mkdir(exist_ok=True)
    write_text(folder / "summary.csv", summarise(with_means(run.results)).to_csv(index=False))
    tables = [table for _, rows in by_split(run.results) for table in split_tables(rows)]
    for ending, write in (("md", to_markdown), ("tex", to_latex), ("csv", to_csv)):
        write_text(folder / f"tables.{ending}", "\n".join(write(table) for table in tables))
    return folder
