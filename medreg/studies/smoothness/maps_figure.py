"""Fields of one pair for several λ or maps of λ: warped grid, length, Jacobian, and how much the field varies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from medreg.reporting.panels import panels
from medreg.reporting.style import INK
from medreg.reporting.views import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GRID_LINES = 24  # across the longer side
PANEL_INCHES = 1.75  # width of a panel


@dataclass(frozen=True, eq=False)
class FieldPlane:
    """One answer in one plane.

    Attributes:
        name: λ or map, above its column.
        warped: (X, Y) warped moving image.
        displacement: (2, X, Y) in plane, voxels.
        jacobian: (X, Y) determinant.
        energy: (X, Y) |∇u|².
        smoothness: (X, Y) λ.
    """

    name: str
    warped: Array
    displacement: Array
    jacobian: Array
    energy: Array
    smoothness: Array


@dataclass(frozen=True)
class _Row:
    """How one kind of panel is painted: label, colours, and range over all planes."""

    label: str
    paint: Callable[[Axes, FieldPlane, tuple[float, float]], Any]
    span: Callable[[Sequence[FieldPlane]], tuple[float, float]]


def field_sheet(planes: Sequence[FieldPlane], *, rows: Sequence[str], title: str | None = None) -> Figure:
    """Draw one column an answer and one row a quantity, each row on one scale.

    Args:
        planes: answers for the same pair and plane.
        rows: of "smoothness", "grid", "magnitude", "jacobian", "energy".
        title: heading.
    """
    x, y = planes[0].warped.shape
    height = PANEL_INCHES * y / x
    size = (PANEL_INCHES * len(planes) + 1.4, (height + 0.15) * len(rows) + 0.7)
    with panels(len(rows), len(planes), size=size) as (figure, axes):
        for line, key in zip(axes, rows, strict=True):
            row = _ROWS[key]
            span = row.span(planes)
            for axis, plane in zip(line, planes, strict=True):
                painted = row.paint(axis, plane, span)
                axis.set(xticks=[], yticks=[], xlim=(-0.5, x - 0.5), ylim=(y - 0.5, -0.5))
                axis.spines[:].set_visible(False)
            line[0].set_ylabel(row.label)
            if key != "grid":
                figure.colorbar(painted, ax=list(line), shrink=0.85, aspect=14)
        for axis, plane in zip(axes[0], planes, strict=True):
            axis.set_title(plane.name)
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
    return figure


def _show(axis: Axes, array: Array, span: tuple[float, float], colours: str) -> Any:
    return axis.imshow(array.T, cmap=colours, vmin=span[0], vmax=span[1], interpolation="nearest")


def _smoothness(axis: Axes, plane: FieldPlane, span: tuple[float, float]) -> Any:
    return _show(axis, plane.smoothness, span, "cividis")


def _grid(axis: Axes, plane: FieldPlane, span: tuple[float, float]) -> Any:
    painted = axis.imshow(plane.warped.T, cmap="gray", alpha=0.5, vmin=span[0], vmax=span[1])
    step = max(max(plane.warped.shape) / GRID_LINES, 1.0)
    for component, size in enumerate(plane.warped.shape):
        place = np.arange(size).reshape((-1, 1) if component == 0 else (1, -1))
        lines = place + plane.displacement[component]
        axis.contour(lines.T, levels=np.arange(step / 2, size - 1, step), colors="#0b6e99", linewidths=0.6)
    return painted


def _magnitude(axis: Axes, plane: FieldPlane, span: tuple[float, float]) -> Any:
    return _show(axis, _length(plane), span, "viridis")


def _jacobian(axis: Axes, plane: FieldPlane, span: tuple[float, float]) -> Any:
    painted = _show(axis, np.log2(np.clip(plane.jacobian, 2.0 ** span[0], None)), span, "PuOr_r")
    folds = 100.0 * float((plane.jacobian <= 0).mean())
    axis.text(0.03, 0.97, f"folds {folds:.2f} %", transform=axis.transAxes, va="top", fontsize=7, color=INK)
    return painted


def _energy(axis: Axes, plane: FieldPlane, span: tuple[float, float]) -> Any:
    return _show(axis, _log_energy(plane), span, "magma")


def _length(plane: FieldPlane) -> Array:
    return np.asarray(np.hypot(*plane.displacement))


def _log_energy(plane: FieldPlane) -> Array:
    return np.asarray(np.log10(np.maximum(plane.energy, 1e-6)))


def _percentiles(planes: Sequence[FieldPlane], of: Callable[[FieldPlane], Array]) -> tuple[float, float]:
    values = np.concatenate([np.ravel(of(plane)) for plane in planes])
    low, high = np.percentile(values, [2.0, 99.5])
    return float(low), float(high) if high > low else float(low) + 1.0


_ROWS: Mapping[str, _Row] = {
    "smoothness": _Row("λ", _smoothness, lambda planes: _percentiles(planes, lambda plane: plane.smoothness)),
    "grid": _Row("warped grid", _grid, lambda planes: _percentiles(planes, lambda plane: plane.warped)),
    "magnitude": _Row("|u|, voxels", _magnitude, lambda planes: (0.0, _percentiles(planes, _length)[1])),
    "jacobian": _Row("log₂ det J", _jacobian, lambda planes: (-1.5, 1.5)),
    "energy": _Row("log₁₀ |∇u|²", _energy, lambda planes: _percentiles(planes, _log_energy)),
}
