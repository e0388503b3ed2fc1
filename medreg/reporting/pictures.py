"""Pictures of a report, drawn once: PNG bytes, a caption, and a text for those who cannot see them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from medreg.io.atomic import replacing
from medreg.reporting.plots import box_plots, training_curves
from medreg.reporting.style import to_png
from medreg.reporting.tables import mixed_metrics, structure_metrics, summarise
from medreg.reporting.vocabulary import COST, INTERVAL_ENDS, describe, in_order

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHARP = 160  # dots per inch of plots: sharp on screens of high resolution too


@dataclass(frozen=True)
class Picture:
    """A drawn figure: file name without ending, PNG bytes, caption, alternative text, width in inches."""

    name: str
    png: bytes
    caption: str
    alt: str
    width: float

    @classmethod
    def of(cls, figure: Figure, name: str, *, caption: str, alt: str, dpi: int = SHARP) -> Picture:
        """Draw a figure."""
        return cls(name, to_png(figure, dpi=dpi), caption, alt, float(figure.get_size_inches()[0]))


def save_pictures(pictures: list[Picture], folder: Path) -> None:
    """Write the pictures as PNG files; the folder is made only if there are any."""
    for picture in pictures:
        with replacing(folder / f"{picture.name}.png") as part:
            part.write_bytes(picture.png)


def curves_picture(history: pd.DataFrame) -> Picture | None:
    """Training curves, None if nothing was trained."""
    figure = training_curves(history)
    if figure is None:
        return None
    steps = history["step"].max()
    names = ", ".join(str(name) for name in pd.unique(history["name"])[:8])
    caption = "Training and validation curves; long curves are faint, their running mean is solid."
    alt = f"Curves over {steps:.0f} steps of {names}."
    return Picture.of(figure, "training", caption=caption, alt=alt)


def box_pictures(results: pd.DataFrame, *, prefix: str) -> list[Picture]:
    """A box plot for every alignment metric that comes per structure, or else over the whole image.

    Args:
        results: Rows of one data set and split.
        prefix: Beginning of the file names.
    """
    if results.empty:
        return []
    metrics = structure_metrics(results) or [
        name for name in in_order({str(m) for m in results["metric"]}) if name not in COST
    ]
    pictures = []
    for metric in metrics:
        if metric in INTERVAL_ENDS or metric in mixed_metrics(results):
            continue
        figure = box_plots(results, metric=metric)
        if figure is not None:
            alt = _box_text(results, metric)
            pictures.append(Picture.of(figure, f"{prefix}_{metric}", caption="", alt=alt))
    return pictures


def _box_text(results: pd.DataFrame, metric: str) -> str:
    own = results[results["metric"] == metric]
    summary = summarise(own)
    known = describe(metric)
    parts = [
        f"{row['structure']} {row['method']} {row['median']:.{known.decimals}f}"
        for row in summary.head(12).to_dict("records")
        if np.isfinite(row["median"])
    ]
    return f"Box plots of {known.label}. Medians: {', '.join(parts)}."
