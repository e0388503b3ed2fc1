"""The report of a benchmark: tables in four formats, plots, pictures, and one page that holds them all."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from medreg.errors import DataError
from medreg.io.atomic import write_text
from medreg.reporting.formats import to_csv, to_latex, to_markdown, to_rich
from medreg.reporting.pictures import Picture, save_pictures
from medreg.reporting.tables import Table
from medreg.studies.benchmark.boxes import method_boxes
from medreg.studies.benchmark.judging import Judged
from medreg.studies.benchmark.methods_table import (
    Standing,
    alignment_metrics,
    methods_table,
    shown_metrics,
    significance_table,
)
from medreg.studies.benchmark.pages import page
from medreg.studies.benchmark.pictures import case_picture
from medreg.studies.benchmark.plan import Benchmark
from medreg.studies.learn2reg.rank_files import printed_tables, write_ranking
from medreg.studies.learn2reg.rank_plot import rank_plot
from medreg.studies.learn2reg.ranking import find_initial

if TYPE_CHECKING:
    from rich.console import Console

PRINTED = 200  # characters of a printed line: a narrow terminal would squeeze the numbers away
IN_BOXES = ("dice", "tre_mm", "hd95_mm", "sd_log_jacobian")  # panels of the box plots, those that there are


def write_report(benchmark: Benchmark, judged: Judged, *, pictures: int, console: Console) -> Path:
    """Write results.csv, tables/, figures/, ranking/ and report.html; print the main table.

    Raises:
        DataError: no method has a scored case.
    """
    if judged.results.empty:
        raise DataError(
            f"No method has a field that could be evaluated; see the worker.log of each in {benchmark.out}."
        )
    out = benchmark.out
    write_text(out / "results.csv", judged.results.to_csv(index=False))
    order = _order(judged)
    tables = _tables(benchmark, judged, order)
    _write_tables(tables, out / "tables")
    _write_failures(judged, out / "failures.csv")
    drawn = [*_plots(judged, order)]
    pairs = benchmark.config.pairs[:pictures]
    drawn += [found for pair in pairs if (found := case_picture(benchmark, judged, pair, order)) is not None]
    save_pictures(drawn, out / "figures")
    if judged.ranking is not None:
        write_ranking(judged.ranking, out / "ranking", stability=judged.stability)
    target = write_text(out / "report.html", page(benchmark, judged, tables, drawn))
    wide = type(console)(file=console.file, width=max(console.width, PRINTED))
    wide.print(to_rich(tables[0]))
    return target


def _order(judged: Judged) -> list[str]:
    """Methods by their place; without a ranking as they were given."""
    names = [entry.name for entry in judged.entries]
    standings = standings_of(judged)
    return sorted(names, key=lambda name: standings[name].place if name in standings else len(names) + 1)


def standings_of(judged: Judged) -> dict[str, Standing]:
    """Places, scores and means over the hardest items, of the methods that were ranked."""
    if judged.ranking is None:
        return {}
    task = judged.ranking.tasks[0]
    worst: dict[str, dict[str, float]] = {name: {} for name in task.methods}
    for found in task.factors:
        if found.factor.name.endswith("30"):
            for name, mean in zip(task.methods, found.factor.means, strict=True):
                worst[name][found.factor.name] = float(mean)
    return {
        name: Standing(int(place), float(score), worst[name])
        for name, place, score in zip(task.methods, task.places, task.scores, strict=True)
    }


def _tables(benchmark: Benchmark, judged: Judged, order: Sequence[str]) -> list[Table]:
    titles = {entry.name: entry.method.title for entry in judged.entries}
    notes = [*_cost_notes(judged), *judged.notes]
    main = methods_table(
        judged.results,
        methods=order,
        titles=titles,
        standings=standings_of(judged),
        title=f"{benchmark.config.name}: {len(benchmark.config.pairs)} pairs",
        notes=notes,
    )
    reference = find_initial(order)
    tests = [
        significance_table(judged.results, metric=metric, methods=order, titles=titles, reference=reference)
        for metric in alignment_metrics(judged.results)[:2]
        if len(order) > 1
    ]
    ranked = [] if judged.ranking is None else printed_tables(judged.ranking, stability=judged.stability)
    return [main, *tests, *ranked]


def _cost_notes(judged: Judged) -> list[str]:
    if "time_s" not in shown_metrics(judged.results):
        return []
    costs = [cost for entry in judged.entries for cost in entry.costs.values()]
    threads = "/".join(map(str, sorted({int(str(cost["threads"])) for cost in costs})))
    return [
        f"Time from reading the images to writing the field, {threads} threads, {costs[0]['hardware']}; "
        "without start-up and imports, of ours, ConvexAdam also without a warm-up on a small piece. CPU time is of "
        "all threads; memory is the largest resident size of the worker process, the tool's libraries included.",
        "Dice, HD95, ASSD, folds and SD log J are the corrected values of medreg; the ranking takes the official ones.",
    ]


def _write_tables(tables: Sequence[Table], folder: Path) -> None:
    for ending, form in (("md", to_markdown), ("tex", to_latex), ("csv", to_csv)):
        text = "\n".join(form(table) for table in tables)
        write_text(folder / f"tables.{ending}", text)


def _write_failures(judged: Judged, target: Path) -> None:
    rows = [
        (name, case, reason) for name, reasons in judged.problems.items() for case, reason in reasons.items()
    ]
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([("method", "case", "reason"), *rows])
    write_text(target, buffer.getvalue())


def _plots(judged: Judged, order: Sequence[str]) -> list[Picture]:
    metrics = [name for name in IN_BOXES if name in shown_metrics(judged.results)]
    found = []
    if judged.ranking is not None:
        for task in judged.ranking.tasks:
            figure = rank_plot(task, stability=judged.stability.get(task.task))
            told = ", ".join(f"{name} {place}" for name, place in zip(task.methods, task.places, strict=True))
            caption = (
                "Rank scores, how often each place came up when cases were drawn again, and who beats whom."
            )
            found.append(Picture.of(figure, "ranking", caption=caption, alt=f"Places: {told}."))
    boxes = method_boxes(judged.results, metrics=metrics, methods=list(order), reference=find_initial(order))
    medians = _medians(judged.results, metrics[0], order) if metrics else ""
    caption = "Over cases: line, median; box, quartiles; whiskers, last case within 1.5 box lengths."
    found.append(Picture.of(boxes, "boxes", caption=caption, alt=f"Box plots. {medians}"))
    return found


def _medians(results: pd.DataFrame, metric: str, order: Sequence[str]) -> str:
    found = results[results["metric"] == metric].groupby("method")["value"].median()
    return f"Medians of {metric}: " + ", ".join(f"{m} {found[m]:.3f}" for m in order if m in found) + "."
