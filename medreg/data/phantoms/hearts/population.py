"""A population of hearts as it is asked for: its people, what their hearts measure, and their surfaces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medreg.data.phantoms.hearts import visits
from medreg.data.phantoms.hearts.course import Cycle, physiological_course, simple_course
from medreg.data.phantoms.hearts.geometry import Shape, Surfaces, plain_shape, surfaces
from medreg.data.phantoms.hearts.law import (
    AGES,
    MEASURED,
    PLAIN,
    Array,
    Law,
    People,
    Targets,
    draw_people,
    generator,
    targets,
)
from medreg.data.phantoms.hearts.modes import draw_shape
from medreg.data.phantoms.hearts.rendering import Pose, place


@dataclass(frozen=True)
class Population:
    """What hearts follow from, apart from grid and counts.

    Attributes:
        seed: of everything.
        effect_scale: multiplies every slope of age.
        ageing: none, one visit; consistent, people change as people of different ages differ; confounded, men's mass
            does the opposite.
        repose: whether a second visit finds the heart in another pose.
        modes: 0, the six effects of volumes and length; 1, further modes of shape and measured means.
        pose: whether hearts differ in pose.
        course: simple or physiological.
    """

    seed: int
    effect_scale: float
    ageing: str
    repose: bool
    modes: int
    pose: bool
    course: str

    @property
    def law(self) -> Law:
        """Constants of the volumes."""
        return MEASURED if self.modes else PLAIN

    def people(self, numbers: Sequence[int], visit: int = 1, *, pairs: bool = False) -> People:
        """Draw subjects at a visit.

        Args:
            numbers: of the subjects.
            visit: 1 or 2.
            pairs: whether they have two visits, which changes the range of their ages.
        """
        first = draw_people(self.seed, numbers, visits.FIRST_AGES if pairs else AGES)
        return first if visit == 1 else visits.second_visit(first, self.seed, numbers, repose=self.repose)

    def targets(self, people: People) -> Targets:
        """Return what the law says, without the noise of a visit."""
        cohort = visits.cohort_term(self.ageing)
        return targets(people, self.law, effect_scale=self.effect_scale, cohort=cohort)

    def drawn(self, people: People, numbers: Sequence[int], visit: int) -> Targets:
        """Return what hearts are drawn with: the law, and where people are seen twice, the noise of a visit."""
        exact = self.targets(people)
        return exact if self.ageing == "none" else visits.measured(exact, self.seed, numbers, visit)

    def shape(self, number: int, aims: Targets) -> Shape:
        """Return the form of a subject's heart, the only one of these targets."""
        return draw_shape(self.seed, number, float(aims.length_mm[0])) if self.modes else plain_shape()

    def cycle(self, number: int, visit: int, age_years: float, frames: int) -> Cycle:
        """Return the contraction of a subject's heart in all frames."""
        if self.course == "simple":
            return simple_course(frames, age_years)
        return physiological_course(frames, age_years, generator(self.seed, number, 5 + visit))

    def pose_of(self, people: People) -> Pose:
        """Return the pose of the only one of these people."""
        return place(people.effects[0, 6:] if self.pose else None)


def heart(shape: Shape, aims: Targets, contraction: Array) -> Surfaces:
    """Return the surfaces of the only heart of these targets in frames of this contraction (T,)."""
    end_diastole = np.array([aims.lvedv_ml[0], aims.rvedv_ml[0]])
    end_systole = np.array([aims.lvesv_ml[0], aims.rvesv_ml[0]])
    volume = end_diastole[:, np.newaxis] + (end_systole - end_diastole)[:, np.newaxis] * contraction
    return surfaces(shape, volume[0], volume[1], float(aims.lvm_g[0]), float(aims.length_mm[0]), contraction)
