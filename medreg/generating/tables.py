"""What is measured of hearts that were made, as CSV: volumes frame by frame, and the measures of each heart."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medreg.generating.heart import Heart
from medreg.io.atomic import write_text
from medreg.metrics.hearts.measures import MEASURES
from medreg.metrics.hearts.sources import AGED, RECONSTRUCTED

GIVEN = "given"  # source of the user's own heart

Row = dict[str, Any]


def curve_rows(heart: Heart) -> list[Row]:
    """Return a row a frame: the volume of every structure, mL."""
    found = []
    for frame in range(len(heart.written)):
        volumes = {f"{name.lower()}_ml": values[frame] for name, values in heart.volumes_ml.items()}
        found.append({"heart": heart.name, "source": heart.source, "frame": frame, **volumes})
    return found


def spread_rows(curves: Sequence[Row], source: str) -> list[Row]:
    """Return a row a frame: mean and SD over the hearts of a source, mL.

    Args:
        curves: as `curve_rows` gives them.
        source: of the hearts.
    """
    rows = [row for row in curves if row["source"] == source]
    found = []
    for frame in sorted({row["frame"] for row in rows}):
        here = [row for row in rows if row["frame"] == frame]
        out: Row = {"frame": frame, "hearts": len(here)}
        for name in (key for key in here[0] if key.endswith("_ml")):
            values = np.array([row[name] for row in here])
            out[f"{name.removesuffix('_ml')}_mean_ml"] = float(values.mean())
            out[f"{name.removesuffix('_ml')}_sd_ml"] = float(values.std(ddof=1)) if len(values) > 1 else 0.0
        found.append(out)
    return found


def measure_row(heart: Heart, measures: Mapping[str, float]) -> Row:
    """Return the row of a heart: who, what the model was told, and its measures."""
    return {"heart": heart.name, "source": heart.source, **heart.told, **measures}


def change_rows(measures: Sequence[Row]) -> list[Row]:
    """Return a row a heart and measure: the change since the first age, and what it makes of the heart as it was given.

    The change is counted from the heart that the model made at the first age, so that what the model smooths away
    drops out; `expected` is the given heart's own measure with that change.

    Args:
        measures: rows of the given, the reconstructed and the aged hearts.
    """
    first = next(row for row in measures if row["source"] == RECONSTRUCTED)
    given = next(row for row in measures if row["source"] == GIVEN)
    found = []
    for row in measures:
        if row["source"] != AGED:
            continue
        for name in MEASURES:
            change = row[name] - first[name]
            known = given.get(name)
            found.append({
                "heart": row["heart"], "age_years": row["age_years"], "measure": name, "given": known,
                "reconstructed": first[name], "aged": row[name], "change": change,
                "expected": None if known is None else known + change,
            })  # fmt: skip
    return found


def write_rows(file: Path, rows: Sequence[Row]) -> Path:
    """Write rows as CSV, whole or not at all; a cell is empty where nothing is known."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return write_text(file, buffer.getvalue())


def _cell(value: Any) -> Any:
    if value is None or (isinstance(value, float | np.floating) and not np.isfinite(value)):
        return ""
    return f"{round(float(value), 6):.10g}" if isinstance(value, float | np.floating) else value
