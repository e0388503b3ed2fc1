"""All pictures of a report, drawn once: PNG bytes, a caption, and a text for those who cannot see them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from medreg.errors import DataError
from medreg.reporting.figures import overview
from medreg.reporting.planes import Array, axis_codes
from medreg.reporting.plots import box_plots, training_curves
from medreg.reporting.results import RunFolder, read_case
from medreg.reporting.style import to_png
from medreg.reporting.tables import OVERALL, methods_in, structure_metrics, summarise, with_means
from medreg.reporting.vocabulary import COST, describe, in_order

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHARP = 160  # dots per inch of plots: sharp on screens of high resolution too
NOT_OF_A_CASE = frozenset({"time_s", "peak_memory_mib"})
ARRAYS = ("fixed_label", "moving_label", "warped_label", "jacobian")


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
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{picture.name}.png").write_bytes(picture.png)


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
        figure = box_plots(results, metric=metric)
        if figure is not None:
            alt = _box_text(results, metric)
            pictures.append(Picture.of(figure, f"{prefix}_{metric}", caption="", alt=alt))
    return pictures


def case_pictures(
    run: RunFolder, *, limit: int, labels: Mapping[int, str]
) -> tuple[list[Picture], list[str]]:
    """Overviews of the chosen cases, and a sentence for each file that could not be shown.

    Args:
        run: The run folder.
        limit: The most cases to draw.
        labels: Names of the label values.
    """
    pictures, notes = [], []
    for file in run.cases[:limit]:
        try:
            figure = draw_case(read_case(file), title=file.stem, labels=labels)
        except (DataError, ValueError) as error:
            notes.append(f"cases/{file.name} was left out: {error}")
            continue
        alt = f"Overview of case {file.stem}: fixed, moving and warped image, differences, grid and Jacobian."
        caption = _case_text(run.results, file.stem)
        pictures.append(Picture.of(figure, f"case_{file.stem}", caption=caption, alt=alt, dpi=110))
    if len(run.cases) > limit:
        notes.append(f"{len(run.cases) - limit} more cases lie in {run.path / 'cases'}.")
    return pictures, notes


def draw_case(arrays: Mapping[str, Array], *, title: str, labels: Mapping[int, str]) -> Figure:
    """Draw the overview of a case as it is stored in `cases/<case>.npz`.

    Volumes use the optional array `affine` (4, 4) for the orientation; slices are shown in stored order.
    """
    volume = arrays["displacement"].shape[-4:-3] == (3,) and arrays["fixed"].ndim >= 3
    return overview(
        arrays["fixed"],
        arrays["moving"],
        arrays["warped"],
        arrays["displacement"],
        spacing_mm=arrays["spacing_mm"],
        title=title,
        orientation=axis_codes(arrays["affine"]) if volume and "affine" in arrays else None,
        label_names=labels,
        focus=True,
        **{name: arrays[name] for name in ARRAYS if name in arrays},  # type: ignore[arg-type]
    )


def label_names(config: str, record: Mapping[str, Any]) -> dict[int, str]:
    """Names of the label values, from the first `labels` mapping in run.json, else in the resolved config."""
    import yaml

    try:
        tree = yaml.safe_load(config) if config else {}
    except yaml.YAMLError:
        tree = {}
    for mapping in (*_label_mappings(record), *_label_mappings(tree)):
        return {int(value): str(name) for name, value in mapping.items()}
    return {}


def _label_mappings(tree: Any) -> Iterator[Mapping[str, int]]:
    if not isinstance(tree, Mapping):
        return
    found = tree.get("labels")
    if isinstance(found, Mapping) and found and all(isinstance(value, int) for value in found.values()):
        yield found
    for child in tree.values():
        yield from _label_mappings(child)


def _case_text(results: pd.DataFrame, stem: str) -> str:
    """Metrics of one case over the whole image, from the unregistered state to the most refined method."""
    stems = results["case"].astype(str).str.replace(r"[^A-Za-z0-9_.-]+", "_", regex=True)
    own = results[stems == stem]
    if own.empty:
        return ""
    own = with_means(own)
    own = own[own["structure"].isin(OVERALL)].drop_duplicates(["method", "metric"])
    methods = methods_in(own)
    parts = []
    for metric in in_order({str(name) for name in own["metric"]} - NOT_OF_A_CASE):
        known, rows = describe(metric), own[own["metric"] == metric].set_index("method")
        values = [float(rows["value"].get(method, float("nan"))) for method in methods]
        shown = " → ".join(f"{value:.{known.decimals}f}" if np.isfinite(value) else "–" for value in values)
        unit = str(rows["unit"].iloc[0])
        parts.append(f"{known.label} {shown}{'' if unit in ('', '1') else ' ' + unit}")
    return f"{' → '.join(methods)}: {'; '.join(parts)}." if parts else ""


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
