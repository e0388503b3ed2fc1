"""A figure in the house style with its panels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from medreg.reporting.style import STYLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@contextmanager
def panels(
    rows: int, columns: int, *, size: tuple[float, float], **shared: Any
) -> Iterator[tuple[Figure, Any]]:
    """Yield a figure and its axes, an array (rows, columns), to be drawn into while the style holds.

    Args:
        rows: of panels.
        columns: of panels.
        size: width and height, inches.
        **shared: `sharex` and `sharey` of matplotlib's `subplots`.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        yield figure, figure.subplots(rows, columns, squeeze=False, **shared)


@contextmanager
def small_multiples(
    count: int, *, columns: int, size: tuple[float, float], margin: tuple[float, float]
) -> Iterator[tuple[Figure, list[Any]]]:
    """Yield a figure and as many axes, row by row; the places that are left over stay empty.

    Args:
        count: number of panels.
        columns: the most in a row.
        size: width and height of a panel, inches.
        margin: around all of them, inches.
    """
    columns = min(columns, count)
    rows = -(-count // columns)
    whole = (size[0] * columns + margin[0], size[1] * rows + margin[1])
    with panels(rows, columns, size=whole) as (figure, axes):
        for axis in axes.flat[count:]:
            axis.set_visible(False)
        yield figure, list(axes.flat[:count])
