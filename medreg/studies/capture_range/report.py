"""Tables, figures and a page of everything in a folder of capture ranges."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd

from medreg.errors import DataError
from medreg.io.atomic import write_text
from medreg.reporting.formats import to_markdown
from medreg.reporting.tables import Cell, Table
from medreg.studies.capture_range.figures import draw_residuals, draw_success
from medreg.studies.capture_range.landscape_figures import draw_landscapes
from medreg.studies.capture_range.summary import (
    Criterion,
    bins_table,
    capture_ranges,
    differences,
    landscape_table,
)


def write_report(out: Path, criterion: Criterion, *, reference: str, unit: str) -> Path:
    """Write tables/*.csv, figures/*.png and report.md from starts.csv and landscapes.csv.

    Args:
        out: folder of the results.
        criterion: of success.
        reference: measure with which success is compared.
        unit: of residuals.

    Returns:
        Path of report.md.

    Raises:
        DataError: there are no results yet.
    """
    starts, landscapes = _read(out / "starts.csv"), _read(out / "landscapes.csv")
    if starts.empty and landscapes.empty:
        raise DataError(f"{out} holds no results yet; run `medreg capture-range` without only=report first.")
    (out / "tables").mkdir(parents=True, exist_ok=True)
    (out / "figures").mkdir(exist_ok=True)
    parts = [f"# Capture range\n\nSuccess: residual ≤ {criterion.final:g} {unit} (root mean square); "]
    parts.append(f"a bin is captured with {100 * criterion.share:g} % successes.\n")
    if not starts.empty:
        parts += _starts(starts, out, criterion, reference=reference, unit=unit)
    if not landscapes.empty:
        table = landscape_table(landscapes)
        write_text(out / "tables" / "landscapes.csv", table.to_csv(index=False))
        draw_landscapes(landscapes, out / "figures" / "landscapes.png")
        parts += ["\n## Landscapes\n", markdown(table), "\n![landscapes](figures/landscapes.png)\n"]
    return write_text(out / "report.md", "\n".join(parts))


def _starts(starts: pd.DataFrame, out: Path, criterion: Criterion, *, reference: str, unit: str) -> list[str]:
    bins = bins_table(starts, criterion)
    ranges = capture_ranges(bins, criterion)
    versus = differences(starts, reference, criterion)
    for name, table in (("bins", bins), ("capture_ranges", ranges), ("differences", versus)):
        write_text(out / "tables" / f"{name}.csv", table.to_csv(index=False))
    draw_success(bins, out / "figures" / "success.png", share=criterion.share)
    draw_residuals(bins, out / "figures" / "residuals.png", unit=unit, threshold=criterion.final)
    wide = ranges.pivot(index="title", columns="family", values="capture_range").reset_index()
    accuracy = ranges.pivot(index="title", columns="family", values="median_final_first_bin").reset_index()
    return [
        "## Capture range: upper edge of the last captured bin\n",
        markdown(wide),
        f"\n## Accuracy: median residual in the first bin, {unit}\n",
        markdown(accuracy),
        "\n## Bins\n",
        markdown(bins.drop(columns="measure")),
        "\n![success](figures/success.png)\n\n![residuals](figures/residuals.png)\n",
    ]


def markdown(table: pd.DataFrame) -> str:
    """Return a table in Markdown, numbers to three digits."""
    rows = tuple(tuple(Cell(_text(value)) for value in row) for row in table.itertuples(index=False))
    return to_markdown(Table("", tuple(map(str, table.columns)), rows))


def _text(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return "–" if math.isnan(value) else f"{value:.3g}"  # not run


def _read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path) if path.is_file() else pd.DataFrame()
