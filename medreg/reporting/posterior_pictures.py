"""Pictures of a posterior in a report: mean and spread of the displacement on the anatomy, and where labels may lie."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from medreg.reporting.case_pictures import cases_section
from medreg.reporting.flat import FlatView, flat_views
from medreg.reporting.overlays import MANY_LABELS, Scale, grey_scale, label_handles, percentile
from medreg.reporting.page import Section
from medreg.reporting.panels import panels
from medreg.reporting.results import RunFolder
from medreg.reporting.style import INK, LABEL_COLOURS
from medreg.reporting.views import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NEEDS = ("fixed", "displacement_mean", "displacement_sd_mm", "spacing_mm")
LEVELS: dict[float, Any] = {0.05: "dotted", 0.5: "solid", 0.95: "dashed"}  # probability of a label → its line
SLICES = 4  # of a stack
PANEL = 2.6  # inches
VEIL = 0.55  # opacity of colours over the anatomy
HINT = (
    "Mean length of the displacement and its standard deviation (root of the summed variances of the components), in "
    "mm, over the fixed image. Contours of warped labels: solid where half of the samples cover the voxel, dotted 5 %, "
    "dashed 95 %; between dotted and dashed line lies the border with 90 % of the probability, voxel by voxel."
)


def cases(run: RunFolder) -> Iterator[Section]:
    """The posterior of the chosen pairs of a run."""
    shown = "mean displacement, its standard deviation, and contours of label probability"
    yield from cases_section(
        run, draw, needs=NEEDS, shown=shown, hint=HINT, title="Posterior", prefix="posterior"
    )


def draw(arrays: Mapping[str, Array], title: str, labels: Mapping[int, str]) -> Figure:
    """Draw the posterior of a pair as it is stored in `cases/<case>.npz`.

    `displacement_sd_mm` is (*S) or (N, X, Y) of a stack, `label_probability` (L, *S) or (N, L, X, Y) of the label
    values `label_probability_codes` (L,); without it there is no third row.

    Raises:
        ValueError: If the shapes do not belong to one case.
    """
    chosen, colours = _arranged(arrays)
    views = list(
        flat_views(
            chosen,
            image="fixed",
            label=arrays.get("fixed_label"),
            spacing_mm=arrays["spacing_mm"],
            affine=arrays.get("affine"),
            slices=SLICES,
        )
    )
    rows = ("mean", "sd", "labels") if colours else ("mean", "sd")
    tall = min(max(max(view.tall for view in views), 0.4), 2.0)
    size = (PANEL * len(views) + 1.1, PANEL * tall * len(rows) + 0.9)
    grey = grey_scale([chosen["fixed"]])
    with panels(len(rows), len(views), size=size) as (figure, axes):
        for row, name in enumerate(rows):
            _row(figure, axes[row], views, name, chosen, grey, colours)
        figure.suptitle(title, fontweight="bold", fontsize=11)
        if colours and len(colours) <= MANY_LABELS:
            handles = [*label_handles(colours, labels), *_level_handles()]
            figure.legend(handles=handles, loc="outside lower left", ncols=5, frameon=False, labelcolor=INK)
    return figure


def _arranged(arrays: Mapping[str, Array]) -> tuple[dict[str, Array], dict[int, str]]:
    """The arrays of a case on its grid, and the colours of the labels; a label's probability is named by its code."""
    fixed, sd, mean = (arrays[name] for name in ("fixed", "displacement_sd_mm", "displacement_mean"))
    stack = mean.shape[1:] != fixed.shape
    spacing = np.ravel(arrays["spacing_mm"])[: mean.shape[1 if stack else 0]]
    length = np.sqrt(
        sum((np.take(mean, k, axis=1 if stack else 0) * mm) ** 2 for k, mm in enumerate(spacing))
    )
    found = {"fixed": fixed, "mean": np.asarray(length), "sd": sd}
    probability = arrays.get("label_probability")
    codes = [int(code) for code in np.ravel(arrays.get("label_probability_codes", np.array([])))]
    if probability is not None:
        found |= {
            f"label {code}": np.take(probability, k, axis=1 if stack else 0) for k, code in enumerate(codes)
        }
    wrong = {name: array.shape for name, array in found.items() if array.shape != fixed.shape}
    if wrong:
        raise ValueError(f"the grid is {fixed.shape}, but the posterior has {wrong}")
    colours = {code: LABEL_COLOURS[k % len(LABEL_COLOURS)] for k, code in enumerate(sorted(codes))}
    return found, colours


def _row(
    figure: Figure,
    axes: Sequence[Axes],
    views: Sequence[FlatView],
    name: str,
    whole: Mapping[str, Array],
    grey: Scale,
    colours: Mapping[int, str],
) -> None:
    """Draw one kind of picture of every view, on one scale."""
    words = {"mean": "mean displacement", "sd": "standard deviation", "labels": "label probability"}
    painted: Any = None
    for axis, view in zip(axes, views, strict=True):
        first = axis is axes[0]
        axis.imshow(view.arrays["fixed"], cmap="gray", vmin=grey.low, vmax=grey.high, aspect=view.aspect)
        if name == "labels":
            _contours(axis, view, colours)
        else:
            top = percentile([whole[name]], 99.9) or 1.0
            colour = "viridis" if name == "mean" else "magma"
            painted = axis.imshow(
                view.arrays[name], cmap=colour, vmin=0.0, vmax=top, alpha=VEIL, aspect=view.aspect
            )
        title = view.name if name == "mean" else ""
        axis.set(xticks=[], yticks=[], title=title, ylabel=words[name] if first else "")
    if painted is not None:
        figure.colorbar(painted, ax=list(axes), label="mm", fraction=0.05, pad=0.02)


def _contours(axis: Axes, view: FlatView, colours: Mapping[int, str]) -> None:
    """Draw the lines of equal probability of every label; a level that the view does not cross has none."""
    for code, colour in colours.items():
        probability = view.arrays[f"label {code}"].astype(float)
        for level, line in LEVELS.items():
            if min(probability.shape) > 1 and probability.min() < level < probability.max():
                axis.contour(probability, levels=[level], colors=colour, linewidths=1.1, linestyles=line)


def _level_handles() -> list[Any]:
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], color=INK, linewidth=1.1, linestyle=line, label=f"{100 * level:.0f} %")
        for level, line in LEVELS.items()
    ]
