"""The clinical measures of a heart, from the voxels that are written."""

from __future__ import annotations

from medreg.generating.heart import Heart
from medreg.metrics.hearts.measures import curves_of, measures_of

AT_ED = ("lvedv_ml", "lvm_g", "rvedv_ml")  # what one frame alone tells
POOR = 0.6  # Dice below which a structure was not understood (ours)
SHOWN = (
    "lvedv_ml", "lvesv_ml", "lvef_percent", "lvm_g", "rvedv_ml", "rvesv_ml", "rvef_percent",
)  # of the table that is printed and of figures  # fmt: skip


def measured(heart: Heart) -> dict[str, float]:
    """Return the measures of a heart by name; of one that is known at ED alone, those of ED."""
    places = {name: place for place, name in enumerate(heart.labels, start=1)}
    curves = curves_of(heart.written, heart.spacing_mm, places)
    if heart.phases == "first":
        found = measures_of(curves)
        return {name: found[name] for name in AT_ED}
    return measures_of(curves, heart.phases)


def lacking(heart: Heart) -> list[str]:
    """Return the structures that a heart lacks in some frame, on the grid of the model."""
    flat = heart.shape.reshape(len(heart.shape), -1)
    return [name for place, name in enumerate(heart.labels, start=1) if not (flat == place).any(1).all()]


def told_back(given: Heart, made: Heart) -> str:
    """Say how well a model gives back the first frame that it was given, and what that means.

    Args:
        given: of the user.
        made: the first heart of the model.
    """
    one, other = given.shape[0], made.shape[0]
    scores = {}
    for place, name in enumerate(made.labels, start=1):
        size = int((one == place).sum() + (other == place).sum())
        scores[name] = 2 * int(((one == place) & (other == place)).sum()) / max(size, 1)
    words = ", ".join(f"{name} {score:.2f}" for name, score in scores.items())
    said = f"the model gives ED back with Dice {words}"
    if min(scores.values()) >= POOR:
        return said
    return (
        f"{said}: that is poor, so do not believe the rest. Either its training has not come far enough, or this heart "
        "is unlike those of the training"
    )
