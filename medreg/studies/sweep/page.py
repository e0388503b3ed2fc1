"""The page of a sweep, its tables as CSV, and the table of the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from medreg.config.instantiate import build
from medreg.io.atomic import write_text
from medreg.reporting.formats import to_markdown, to_rich
from medreg.reporting.page import Page, Section, figure, paragraph, render, to_html, verbatim
from medreg.reporting.pictures import Picture, save_pictures
from medreg.reporting.tables import Table
from medreg.runs.sweep import FINISHED, jobs_of
from medreg.studies.sweep.figures import importance_bars, parallel_coordinates, pareto
from medreg.studies.sweep.summary import as_table, best_command, by_setting
from medreg.studies.sweep.trials import Sweep, config_of, read_sweep

ON_PAGE, IN_TERMINAL = 10, 3  # metrics in a table; settings.csv has all


def show_sweep(folder: Path) -> Path:
    """Write sweep.html, sweep.md, settings.csv, trials.csv and figures/ of a sweep, and print its table.

    Returns:
        Path of sweep.html.

    Raises:
        DataError: there is no sweep.
    """
    from rich.console import Console

    sweep = read_sweep(folder)
    settings = by_setting(sweep)
    table, command = as_table(sweep, settings, metrics=ON_PAGE), best_command(sweep, settings)
    sections = list(_sections(sweep, settings, table, command))
    page = Page(
        title=f"Sweep over {', '.join(sweep.options) or 'seeds'}",
        name=folder.name,
        status=FINISHED if len(sweep.finished) == len(sweep.trials) else "unfinished",
        facts=_facts(sweep),
        command=" ".join(sweep.common),
        sections=sections,
        again=f"medreg sweep {folder}",
    )
    save_pictures([picture for section in sections for picture in section.pictures], folder / "figures")
    for name, frame in (("settings", settings), ("trials", sweep.trials)):
        write_text(folder / f"{name}.csv", frame.to_csv(index=False))
    write_text(folder / "sweep.md", to_markdown(table))
    target = write_text(folder / "sweep.html", render(page))
    console = Console()
    console.print(to_rich(as_table(sweep, settings, metrics=IN_TERMINAL)))
    for label, text in (("best", command), ("page", target)):
        if text is not None:
            console.print(f"{label:<6} {text}", soft_wrap=True, highlight=False, markup=False)
    return target


def mirror_sweep(folder: Path) -> None:
    """Send the tables of a sweep to the logger of its runs, as a run of the same group."""
    config: dict[str, Any] = next((found for job in jobs_of(folder) if (found := config_of(job.folder))), {})
    logger = build(config.get("logger"))
    if logger is None:
        return
    facts = {"name": folder.name, "group": folder.name, "job_type": "sweep"}
    if logger.connect(folder, config=config, facts=facts) is not None:
        logger.tables([folder / "settings.csv", folder / "trials.csv"])
    logger.close(failed=False)


def _sections(sweep: Sweep, settings: pd.DataFrame, table: Table, command: str | None) -> Iterator[Section]:
    best = () if command is None else (paragraph("The best, to run again:"), verbatim(command))
    yield Section("Settings", (to_html(table), *best))
    for picture in _pictures(sweep, settings):
        yield Section(picture.caption.split(":")[0], (figure(picture),), (picture,))
    broken = sweep.trials[sweep.trials["status"] != FINISHED]
    if len(broken):
        names = [name for name in (*sweep.options, "seed", "status", "error") if name in broken]
        told = Table.of_frame(broken[names].rename(columns={"error": "reason"}))
        yield Section("Runs that did not finish", (to_html(told),))


def _pictures(sweep: Sweep, settings: pd.DataFrame) -> Iterator[Picture]:
    drawn = (
        (
            "parallel",
            parallel_coordinates(sweep),
            "Parallel coordinates: every run a line, the best darkest.",
        ),
        ("pareto", pareto(sweep, settings), "Pareto front: settings that no other beats in both objectives."),
        (
            "importance",
            importance_bars(sweep),
            "Importance: what each option explains of the objective by itself.",
        ),
    )
    for name, drawing, caption in drawn:
        if drawing is not None:
            yield Picture.of(drawing, name, caption=caption, alt=caption)


def _facts(sweep: Sweep) -> dict[str, str]:
    spent = pd.to_numeric(sweep.trials["cpu_seconds"], errors="coerce").sum()
    return {
        "runs": f"{len(sweep.finished)} of {len(sweep.trials)} finished",
        "objective": ", ".join(sweep.objectives),
        "CPU time": f"{spent:.0f} s",
    }
