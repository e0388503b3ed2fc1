"""Tables, curves and figures of calibration in a folder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from medreg.io.atomic import write_text
from medreg.metrics.rows import unit_of
from medreg.reporting.cells import NONE, best, number, spread
from medreg.reporting.formats import to_markdown
from medreg.reporting.tables import Cell, Table
from medreg.reporting.vocabulary import describe, heading, in_order
from medreg.studies.uncertainty.curves import curves_of
from medreg.studies.uncertainty.figures import draw_all
from medreg.studies.uncertainty.pooling import RAW, Difference, Figure, differences, figures_of
from medreg.studies.uncertainty.reading import Method, read_methods, read_validation
from medreg.studies.uncertainty.recalibrated import factor_of, recalibrated

# One table a question: metrics and its title.
GROUPS = {
    "Displacement: intervals": (
        "calibration_error", "coverage_bias", "coverage_50_percent", "coverage_90_percent", "z_mean", "z_rms", "nees",
        "calibration_error_ranks", "rank_deviation", "zero_sd_percent",
    ),
    "Displacement: scores and order": (
        "epe_mm", "sharpness_mm", "crps_mm", "crps_samples_mm", "ause", "ause_random", "spearman_sd_error",
    ),
    "Labels": (
        "dice", "label_ece_top", "label_ece_adaptive", "label_mce", "label_brier", "label_nll", "label_entropy",
        "auroc_sd", "auroc_random", "auroc_gradient",
    ),
}  # fmt: skip
SILENT = ("zero_sd_percent",)  # shown only where it is not zero everywhere
FLOORED = ("calibration_error", "calibration_error_ranks")


@dataclass(frozen=True)
class Comparison:
    """What was found of some methods.

    Attributes:
        methods: in their order.
        figures: every number.
        differences: of calibration errors to the first method.
        curves: of every method, see `curves.curves_of`.
        notes: oddities of the files, and factors of recalibration.
    """

    methods: tuple[Method, ...]
    figures: tuple[Figure, ...]
    differences: tuple[Difference, ...]
    curves: pd.DataFrame
    notes: tuple[str, ...]


def compare_calibration(
    sources: Sequence[str], *, validation: Sequence[str] = (), common: bool = False, seed: int = 0
) -> Comparison:
    """Read runs and pool their calibration.

    Args:
        sources: run folders, or NAME=FOLDER.
        validation: runs of the same methods on other cases, to which recalibrations are fitted.
        common: compare on the cases that all methods have.
        seed: of the bootstrap over cases.

    Raises:
        DataError: see `read_methods` and `read_validation`.
    """
    methods = read_methods(sources, common=common)
    fits = read_validation(validation, methods) if validation else {}
    figures = [figure for method in methods for figure in figures_of(method, seed=seed)]
    notes = list(dict.fromkeys(note for method in methods for note in method.notes))
    for method in methods:
        if method.name in fits:
            fit = fits[method.name]
            figures += recalibrated(method, fit, seed=seed)
            notes.append(_fit_note(method.name, factor_of(fit), len(fit.cases)))
    curves = pd.concat([curves_of(method, seed=seed) for method in methods], ignore_index=True)
    return Comparison(
        tuple(methods), tuple(figures), tuple(differences(methods, seed=seed)), curves, tuple(notes)
    )


def tables_of(found: Comparison) -> list[Table]:
    """Return a table for each question, of the likeliest figures first, and one of the recalibrations."""
    tables = []
    for title, metrics in GROUPS.items():
        figures = [f for f in found.figures if f.metric in metrics and f.form == RAW]
        quiet = {name for name in SILENT if not any(f.value for f in figures if f.metric == name)}
        figures = [f for f in figures if f.metric not in quiet]
        if figures:
            tables.append(
                _table(title, [m for m in metrics if any(f.metric == m for f in figures)], figures, found)
            )
    structures = _by_structure(found)
    mended = [f for f in found.figures if f.metric not in ("label_ece",) and _has_other_forms(f, found)]
    if mended:
        tables.append(_forms(mended))
    return [*tables, *structures]


def write_comparison(found: Comparison, folder: Path) -> Path:
    """Write report.md, figures.csv, differences.csv, curves.csv and figures/*.png; return report.md."""
    write_text(folder / "figures.csv", pd.DataFrame([vars(f) for f in found.figures]).to_csv(index=False))
    write_text(
        folder / "differences.csv", pd.DataFrame([vars(d) for d in found.differences]).to_csv(index=False)
    )
    write_text(folder / "curves.csv", found.curves.to_csv(index=False))
    pictures = draw_all(found.curves, folder / "figures")
    parts = ["# Calibration\n", *(to_markdown(table) for table in tables_of(found))]
    parts += [f"{sentence}\n" for sentence in sentences(found)]
    parts += [f"![{file.stem}](figures/{file.name})\n" for file in pictures]
    return write_text(folder / "report.md", "\n".join(parts))


def sentences(found: Comparison) -> list[str]:
    """Return the comparisons in words, and the notes."""
    said = []
    for d in found.differences:
        label = describe(d.metric).label
        verdict = (
            "no difference that is more than chance" if d.n > 1 else "one case cannot say what is chance"
        )
        if d.high < 0:
            verdict = f"{d.method} is better calibrated"
        elif d.low > 0:
            verdict = f"{d.method} is worse calibrated"
        low, high = (number(value, 3, sign=True) for value in (d.low, d.high))
        said.append(
            f"{label}: {d.method} − {d.reference} = {number(d.value, 3, sign=True)} (95 % CI {low} to {high}, "
            f"n = {d.n}): {verdict}."
        )
    return [*said, *found.notes]


def _fit_note(name: str, factor: float, cases: int) -> str:
    if math.isnan(factor):
        return (
            f"{name}: no factor mends its SD, which is zero or unknown somewhere in {cases} validation cases."
        )
    return f"{name}: SD × {factor:.3f}, fitted to {cases} validation cases."


def _table(title: str, metrics: Sequence[str], figures: Sequence[Figure], found: Comparison) -> Table:
    """One row a figure, one column a method: names of figures are long, and methods many."""
    rows = []
    for metric in metrics:
        mine = {f.method: f for f in figures if f.metric == metric and f.structure in ("all", "mean")}
        cells = _cells([mine.get(method.name) for method in found.methods], metric)
        rows.append((Cell(heading(metric, unit_of(metric))), *cells))
    notes = [f"± one standard error over n = {len(found.methods[0].cases)} cases."]
    if any(metric in FLOORED for metric in metrics):
        notes.append(
            "Calibration error, in small: what a perfect prediction would show by chance for so many cases."
        )
    return Table(title, ("figure", *(method.name for method in found.methods)), tuple(rows), tuple(notes))


def _cells(column: Sequence[Figure | None], metric: str) -> list[Cell]:
    known = describe(metric)
    values = [math.nan if figure is None else figure.value for figure in column]
    bold = best(values, known.better, known.decimals)
    out = []
    for figure, top in zip(column, bold, strict=True):
        if figure is None:
            out.append(Cell(NONE))
            continue
        below = "" if math.isnan(figure.floor) else number(figure.floor, known.decimals)
        out.append(Cell(spread(figure.value, figure.error, known.decimals), below, top))
    return out


def _by_structure(found: Comparison) -> list[Table]:
    """ECE of each structure, one column a method and form."""
    figures = [f for f in found.figures if f.metric == "label_ece"]
    if not figures:
        return []
    columns = list(dict.fromkeys((f.method, f.form) for f in figures))
    by_place = {(f.structure, f.method, f.form): f for f in figures}
    rows = []
    for name in dict.fromkeys(f.structure for f in figures):
        cells = [by_place.get((name, *column)) for column in columns]
        texts = [Cell(NONE if f is None else spread(f.value, f.error, 3)) for f in cells]
        rows.append((Cell(name), *texts))
    header = ("structure", *(method if form == RAW else f"{method}, {form}" for method, form in columns))
    return [Table(heading("label_ece", "1"), header, tuple(rows))]


def _has_other_forms(figure: Figure, found: Comparison) -> bool:
    return any(
        f.form != RAW and (f.method, f.metric) == (figure.method, figure.metric) for f in found.figures
    )


def _forms(figures: Sequence[Figure]) -> Table:
    """Raw and recalibrated figures, one row a method and form."""
    metrics = in_order({f.metric for f in figures})
    rows = []
    for method, form in sorted(
        dict.fromkeys((f.method, f.form) for f in figures),
        key=lambda key: [f.method for f in figures].index(key[0]),
    ):
        mine = {f.metric: f for f in figures if (f.method, f.form) == (method, form)}
        cells = [
            Cell(spread(mine[m].value, mine[m].error, describe(m).decimals)) if m in mine else Cell(NONE)
            for m in metrics
        ]
        rows.append((Cell(method), Cell(form), *cells))
    header = ("method", "form", *(heading(metric, unit_of(metric)) for metric in metrics))
    notes = ("Recalibrations are fitted to validation cases; they do not replace the figures as stated.",)
    return Table("Recalibrated", header, tuple(rows), notes)
