"""Further modes of shape: what differs between hearts of the same volumes and length.

Six effects of volume and length make a population that a few principal components describe; real hearts need about
thirty. The modes are ours, none depends on the person, and volumes are what they were without them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medreg.data.phantoms.hearts.geometry import THETA, Array, Shape, U
from medreg.data.phantoms.hearts.law import generator

FURTHEST = 2.5  # standard deviations at which a mode is cut
RV_LONGEST = 0.99  # of the cavity's length: the tip of a heart is that of its left ventricle
LEVEL: Array = np.clip(U, 0, 1)
REACH_MM = 110.0  # of cavity and tilt along the axis, which with the tip leaves 4 mm of 128 mm on either side
ACROSS_MM = 100.0  # the diameter of a heart, over which a tilt lifts it
# Name → standard deviation; what each does is said where it is used, in `_form`.
MODES = {
    "widest": 0.03, "oval": 0.05, "oval_aslant": 0.03, "apex": 0.15, "base": 0.10, "septum": 0.07, "side": 0.04,
    "wall_septum": 0.12, "wall_front": 0.10, "wall_oval": 0.08, "wall_base": 0.18, "wall_apex": 0.10,
    "rv_centre": 0.05, "rv_width": 0.09, "rv_length": 0.06, "rv_front": 0.12, "rv_base": 0.15, "rv_middle": 0.10,
    "rv_outflow": 0.12, "shortening": 0.015, "turn": 0.16, "wring": 0.05, "bend_x": 1.5, "bend_y": 1.5,
    "tilt_x": 0.03, "tilt_y": 0.03,
}  # fmt: skip


@dataclass(frozen=True)
class Roughness:
    """A random field on a surface: waves along and around the axis, the short ones weak.

    Attributes:
        size: standard deviation.
        around: waves around the axis at most.
        along: half waves along the axis at most.
        fall: the amplitude of wave number k goes with k^−fall.
    """

    size: float
    around: int
    along: int
    fall: float

    @property
    def count(self) -> int:
        """Of random numbers."""
        return self.along * (2 * self.around + 1)

    def field(self, normal: Array) -> Array:
        """Return the field on the nodes of the surfaces, (LEVELS, ANGLES).

        Args:
            normal: (count,) standard normal.
        """
        across = [np.ones_like(THETA)]
        for k in range(1, self.around + 1):
            across += [np.sqrt(2) * np.cos(k * THETA), np.sqrt(2) * np.sin(k * THETA)]
        order = np.array([0, *(k for k in range(1, self.around + 1) for _ in range(2))])
        upward = [np.sqrt(2) * np.sin((m - 0.5) * np.pi * LEVEL) for m in range(1, self.along + 1)]
        weight = np.maximum(np.hypot(order[np.newaxis, :], np.arange(1, self.along + 1)[:, np.newaxis]), 1)
        weight = weight**-self.fall
        weight *= self.size / np.sqrt((weight**2).sum())
        amplitude = weight * normal.reshape(self.along, -1)
        return np.asarray(sum(
            amplitude[m, k] * upward[m] * across[k] for m in range(self.along) for k in range(len(across))
        ))  # fmt: skip


TRABECULAE = Roughness(0.045, 6, 5, 1.0)  # of the cavity's radius
OUTLINE = Roughness(0.035, 5, 4, 1.5)  # of both radii of the left ventricle
FREE_WALL = Roughness(0.06, 5, 4, 1.5)  # of the radial half axis of the right ventricle


def draw_shape(seed: int, number: int, length_mm: float) -> Shape:
    """Draw the form of a subject's heart.

    Args:
        seed: of the population.
        number: of the subject.
        length_mm: of the cavity; long hearts are tilted less, so that they stay in the field of view.
    """
    random = generator(seed, number, 1)
    normal = np.clip(random.standard_normal(len(MODES)), -FURTHEST, FURTHEST)
    mode = {name: sd * float(e) for (name, sd), e in zip(MODES.items(), normal, strict=True)}
    rough = [
        kind.field(np.clip(random.standard_normal(kind.count), -FURTHEST, FURTHEST))
        for kind in (TRABECULAE, OUTLINE, FREE_WALL)
    ]
    steepest = (REACH_MM - length_mm) / ACROSS_MM
    for name in ("tilt_x", "tilt_y"):
        mode[name] = float(np.clip(mode[name], -steepest, steepest))
    return _form(mode, rough)


def _form(mode: dict[str, float], rough: list[Array]) -> Shape:
    septal = np.exp(-((np.angle(np.exp(1j * THETA)) / 0.7) ** 2))
    belly = np.sin(np.pi * LEVEL)
    section = (
        mode["oval"] * np.cos(2 * THETA)
        + mode["oval_aslant"] * np.sin(2 * THETA)
        + mode["apex"] * ((1 - LEVEL) ** 2 - 0.3)  # blunt or pointed
        + mode["base"] * (LEVEL**3 - 0.25)  # wide or narrow at the base
        - (0.05 + mode["septum"]) * septal * belly  # flat or round septum
        + mode["side"] * np.sin(THETA) * belly
    )
    wall = (
        mode["wall_septum"] * np.cos(THETA)
        + mode["wall_front"] * np.sin(THETA)
        + mode["wall_oval"] * np.cos(2 * THETA)
        + mode["wall_base"] * (LEVEL - 0.5)
        + mode["wall_apex"] * (1 - LEVEL) ** 4
    )
    outflow = np.exp(-((THETA - 1.0) ** 2) / 0.3) * LEVEL**3
    free_wall = (
        mode["rv_front"] * np.sin(THETA)
        + mode["rv_base"] * (LEVEL - 0.5)
        + mode["rv_middle"] * (belly - 0.6)
        + mode["rv_outflow"] * outflow
    )
    return Shape(
        widest=0.7 + mode["widest"],
        section=np.exp(section + rough[1]),
        lining=np.exp(rough[0]),
        wall=np.exp(wall),
        free_wall=np.exp(free_wall + rough[2]),
        rv_centre=0.85 * np.exp(mode["rv_centre"]),
        rv_width=1.45 * np.exp(mode["rv_width"]),
        rv_growth=0.5,
        rv_length=min(0.92 * np.exp(mode["rv_length"]), RV_LONGEST),
        shortening=0.15 + mode["shortening"],
        turn=mode["turn"],
        wring=0.12 + mode["wring"],
        bend_mm=(mode["bend_x"], mode["bend_y"]),
        tilt=(mode["tilt_x"], mode["tilt_y"]),
    )
