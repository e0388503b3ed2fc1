"""The one look of all figures: colours that colour-blind readers tell apart, quiet axes, PNG bytes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medreg.io.atomic import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK = "#1d2733"
MUTED = "#6b7785"
PALE = "#d9dee4"
# Okabe and Ito (2008), ordered so that neighbours differ most; orange first, it reads best on grey images.
LABEL_COLOURS = (
    "#E69F00",
    "#56B4E9",
    "#CC79A7",
    "#009E73",
    "#F0E442",
    "#D55E00",
    "#0072B2",
    "#8DD35F",
    "#B07AA1",
    "#FF9DA7",
    "#76B7B2",
    "#9C755F",
)
REFERENCE_COLOUR = "#9aa4af"  # the unregistered state, everywhere
METHOD_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5195")

STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titlecolor": INK,
    "axes.labelcolor": INK,
    "axes.labelsize": 9,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "text.color": INK,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "legend.fontsize": 8,
    "grid.color": PALE,
    "grid.linewidth": 0.6,
}


def to_png(figure: Figure, *, dpi: int = 110) -> bytes:
    """The figure as PNG bytes, without a time stamp, so that equal figures are equal bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def save(figure: Figure, path: str | Path, *, dpi: int = 150) -> Path:
    """Write the figure in the format that the ending of `path` names and return the path."""
    target = Path(path)
    with replacing(target) as part:
        figure.savefig(part, dpi=dpi)
    return target
