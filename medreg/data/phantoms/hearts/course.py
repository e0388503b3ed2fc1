"""How far a heart has contracted in each frame of the cycle: 0 at end-diastole, 1 at end-systole."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

END_SYSTOLE = 0.4  # of the cycle


@dataclass(frozen=True)
class Cycle:
    """The frames of one heart.

    Attributes:
        contraction: (T,), 0 in frame 0 and 1 in the frame of end-systole.
        end_systole: that frame.
    """

    contraction: Array
    end_systole: int


def smooth_step(x: Array | float) -> Array:
    """Return ½ (1 − cos πx), with x cut to 0 … 1."""
    return np.asarray(0.5 * (1 - np.cos(np.pi * np.clip(x, 0, 1))))


def early_share(age_years: float) -> float:
    """Return the part of the stroke volume that flows in before the atria contract; it falls with age."""
    return float(np.clip(0.8 - 0.006 * (age_years - 40), 0.5, 0.85))


def simple_course(frames: int, age_years: float) -> Cycle:
    """Return a cycle that ends its systole at 0.4 of it: frame 4 of 10, 8 of 20, 20 of 50.

    Args:
        frames: T.
        age_years: of the heart.
    """
    end = round(END_SYSTOLE * frames)
    phase = np.arange(frames) / frames
    early = early_share(age_years)
    filling = early * smooth_step((phase - END_SYSTOLE) / 0.25) + (1 - early) * smooth_step(
        (phase - 0.8) / 0.2
    )
    contraction = np.where(phase <= END_SYSTOLE, smooth_step(phase / END_SYSTOLE), 1 - filling)
    return Cycle(contraction, end)
