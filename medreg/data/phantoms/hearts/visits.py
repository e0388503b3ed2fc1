"""Second visits, years later: who has changed how, and what a scanner makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from medreg.data.phantoms.hearts.law import BMI_RANGE, SBP_PER_YEAR, Array, People, Targets, generator

AGEING = ("none", "consistent", "confounded")
FIRST_AGES = (45.0, 70.0)  # years, uniform
GAP_YEARS = (2.0, 15.0)  # uniform
BMI_CHANGE_SD = 0.8
SBP_CHANGE_SD_MMHG = 6.0
VOLUME_NOISE_SD = 0.03  # of the logarithm of LVEDV, LVM and RVEDV at each visit
EJECTION_NOISE_SD = 1.5  # per cent, at each visit
# Men's LV mass falls by 3 % a decade across people and rises by 7 % in each of them, after Eng et al. 2016 (MESA).
CONFOUNDED = 0.10


def cohort_term(ageing: str) -> float:
    """Return the change of men's mass per decade between two visits that people of different ages do not show."""
    return CONFOUNDED if ageing == "confounded" else 0.0


def second_visit(people: People, seed: int, numbers: Sequence[int], *, repose: bool) -> People:
    """Return the same people at their second visit; anatomy keeps its random effects.

    Args:
        people: at the first visit.
        seed: of the population.
        numbers: of the subjects.
        repose: whether they lie otherwise in the scanner, rather than as before.
    """
    random = [generator(seed, number, 2) for number in numbers]
    gap = np.array([r.uniform(*GAP_YEARS) for r in random])
    normal = np.array([r.standard_normal(5) for r in random])
    effects = people.effects.copy()
    if repose:
        effects[:, 6:] = normal[:, 2:]
    return replace(
        people,
        age_years=people.age_years + gap,
        bmi=np.clip(people.bmi + BMI_CHANGE_SD * normal[:, 0], *BMI_RANGE),
        sbp_mmhg=people.sbp_mmhg + SBP_PER_YEAR * gap + SBP_CHANGE_SD_MMHG * normal[:, 1],
        effects=effects,
    )


def measured(targets: Targets, seed: int, numbers: Sequence[int], visit: int) -> Targets:
    """Return the targets with the noise of a visit, which hearts are then drawn with.

    Args:
        targets: of the law.
        seed: of the population.
        numbers: of the subjects.
        visit: 1 or 2.
    """
    noise: Array = np.array([generator(seed, number, 2 + visit).standard_normal(5) for number in numbers])
    factor = np.exp(VOLUME_NOISE_SD * noise[:, :3])
    return replace(
        targets,
        lvedv_ml=targets.lvedv_ml * factor[:, 0],
        lvm_g=targets.lvm_g * factor[:, 1],
        rvedv_ml=targets.rvedv_ml * factor[:, 2],
        lvef_percent=targets.lvef_percent + EJECTION_NOISE_SD * noise[:, 3],
        rvef_percent=targets.rvef_percent + EJECTION_NOISE_SD * noise[:, 4],
    )
