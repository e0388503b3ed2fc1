"""How far a heart has contracted in each frame of the cycle: 0 at end-diastole, 1 at end-systole."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

END_SYSTOLE = 0.4  # of the cycle
# The physiological course; all in parts of the cycle, ours.
END_SYSTOLE_SD = 0.015
LATE_SD = 0.018  # of the time from the largest ventricle to frame 0
LATEST = 0.04
EARLY_LENGTH = 0.2  # of early filling
DIASTASIS = 0.04  # part of the stroke volume that flows in between early filling and kick
EARLY_SD = 0.04  # of the part of early filling, given the age
KICK = 0.8  # when the atria contract


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


def physiological_course(frames: int, age_years: float, random: np.random.Generator) -> Cycle:
    """Return a cycle with early filling, diastasis and atrial kick, seen by a scanner that is not quite on time.

    Frame 0 is what the scanner calls end-diastole; the ventricle is largest up to `LATEST` of a cycle before or after,
    so that the largest of the frames may be the next one or the last. Contraction is below 0 where the ventricle is
    larger than in frame 0. End-systole falls on a frame: what is asked for is reached.

    Args:
        frames: T.
        age_years: of the heart.
        random: of the subject.
    """
    late, end, early = random.standard_normal(3)
    late = float(np.clip(LATE_SD * late, -LATEST, LATEST))
    late = float(np.clip(late, -1.4 / frames, 1.4 / frames))  # never more than a frame away
    systole = END_SYSTOLE + END_SYSTOLE_SD * float(np.clip(end, -2.5, 2.5))
    frame = max(round((systole - late) * frames), 1)
    systole = frame / frames + late
    share = float(np.clip(early_share(age_years) + EARLY_SD * early, 0.4, 0.88))
    phase = np.mod(np.arange(frames) / frames + late, 1.0)
    values = _physiological(phase, systole, share)
    return Cycle((values - values[0]) / (values[frame] - values[0]), frame)


def _physiological(phase: Array, systole: float, early: float) -> Array:
    """Return the contraction over the cycle, 0 when the ventricle is fullest, 1 at the end of systole."""
    filled = early * smooth_step((phase - systole) / EARLY_LENGTH)
    filled += DIASTASIS * np.clip((phase - systole - EARLY_LENGTH) / (KICK - systole - EARLY_LENGTH), 0, 1)
    filled += (1 - early - DIASTASIS) * smooth_step((phase - KICK) / (1 - KICK))
    return np.asarray(np.where(phase <= systole, smooth_step(phase / systole), 1 - filled))
