"""The law of the heart population: who the people are, and which volumes their hearts have, given who they are.

Every number is ours, chosen to sit on published means (Petersen et al., JCMR 2017 and PLoS ONE 2017; Hudsmith et al.,
JCMR 2005; Bai et al., MedIA 2015; UK Biobank's reference ranges); docs/explanation/heart-population.md says which.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Pair = tuple[float, float]  # women, men

EFFECTS = ("size", "function", "mass", "rv_size", "rv_function", "elongation", "turn", "shift_x", "shift_y")
HEIGHT_CM: Pair = (163.0, 176.0)
HEIGHT_SD_CM: Pair = (6.0, 7.0)
BMI: Pair = (26.2, 27.1)
BMI_SD: Pair = (4.6, 3.9)
BMI_RANGE = (18.0, 42.0)
SBP_MMHG: Pair = (133.0, 141.0)
SBP_SD_MMHG: Pair = (19.0, 16.0)
SBP_PER_YEAR = 0.5  # mmHg, about the age of 62
AGES = (44.0, 82.0)  # years, uniform


@dataclass(frozen=True)
class Law:
    """Constants of the conditional law of a heart; pairs are women and men.

    Attributes:
        lvedv: mL at 60 years, mean height, a BMI of 26.6 and mean pressure.
        lvedv_sd: of its logarithm, given the person.
        lvef: per cent.
        lvef_sd: per cent, given the person.
        lvef_by_size: correlation of the ejection fraction with the size of the ventricle, given the person.
        lvm: g.
        lvm_sd: of its logarithm, given the person.
        lvm_by_size: correlation of mass and size, given the person.
        lvm_age: change of the logarithm per decade; none in women: a negative control.
        rvedv: mL; the pressure has no effect on it: a negative control.
        rvedv_sd: of its logarithm, given the person.
        rvef: per cent.
        rvef_sd: per cent, given the person.
        longest_mm: cavity; a longer one would leave the field of view of 128 mm.
    """

    lvedv: Pair
    lvedv_sd: float
    lvef: Pair
    lvef_sd: float
    lvef_by_size: float
    lvm: Pair
    lvm_sd: float
    lvm_by_size: float
    lvm_age: Pair
    rvedv: Pair
    rvedv_sd: float
    rvef: Pair
    rvef_sd: float
    longest_mm: float


PLAIN = Law(
    lvedv=(125, 160), lvedv_sd=0.15, lvef=(61, 58), lvef_sd=4, lvef_by_size=0, lvm=(72, 105), lvm_sd=0.15,
    lvm_by_size=0.6, lvm_age=(0, -0.03), rvedv=(132, 180), rvedv_sd=0.15, rvef=(58, 54), rvef_sd=4,
    longest_mm=110,
)  # fmt: skip
MEASURED = Law(
    lvedv=(121, 154), lvedv_sd=0.12, lvef=(60.5, 57.5), lvef_sd=4.6, lvef_by_size=-0.25, lvm=(87, 124), lvm_sd=0.15,
    lvm_by_size=0.25, lvm_age=(0, -0.03), rvedv=(128, 192), rvedv_sd=0.13, rvef=(58, 54), rvef_sd=5.5,
    longest_mm=108,
)  # fmt: skip


@dataclass(frozen=True)
class People:
    """Persons and what is random in their hearts.

    Attributes:
        age_years: (N,).
        sex: (N,), 0 women, 1 men.
        height_cm: (N,).
        bmi: (N,) kg/m².
        sbp_mmhg: (N,).
        effects: (N, 9) standard normal, in the order of `EFFECTS`.
        first_age_years: (N,) age at the first visit; that of this visit where there is one only.
    """

    age_years: Array
    sex: Array
    height_cm: Array
    bmi: Array
    sbp_mmhg: Array
    effects: Array
    first_age_years: Array

    @property
    def weight_kg(self) -> Array:
        """(N,) from height and body-mass index."""
        return np.asarray(self.bmi * (self.height_cm / 100) ** 2)

    @property
    def bsa_m2(self) -> Array:
        """(N,) body surface after Mosteller, NEJM 1987."""
        return np.asarray(np.sqrt(self.height_cm * self.weight_kg / 3600))

    def covariates(self) -> Mapping[str, Array]:
        """Return the conditions by name, each (N,)."""
        return {
            "age_years": self.age_years,
            "sex": self.sex,
            "height_cm": self.height_cm,
            "weight_kg": self.weight_kg,
            "sbp_mmhg": self.sbp_mmhg,
        }

    def effect(self, name: str) -> Array:
        """Return one random effect, (N,)."""
        return np.asarray(self.effects[:, EFFECTS.index(name)])


@dataclass(frozen=True)
class Targets:
    """What hearts are to measure, each (N,): mL, per cent, g, and the cavity's length at end-diastole in mm."""

    lvedv_ml: Array
    lvef_percent: Array
    lvm_g: Array
    rvedv_ml: Array
    rvef_percent: Array
    length_mm: Array

    @property
    def lvesv_ml(self) -> Array:
        """(N,) volume of the left ventricle at end-systole."""
        return np.asarray(self.lvedv_ml * (1 - self.lvef_percent / 100))

    @property
    def rvesv_ml(self) -> Array:
        """(N,) volume of the right ventricle at end-systole."""
        return np.asarray(self.rvedv_ml * (1 - self.rvef_percent / 100))

    def measures(self) -> dict[str, Array]:
        """Return the measures by the names of tables, each (N,)."""
        names = ("lvedv_ml", "lvesv_ml", "lvm_g", "rvedv_ml", "rvesv_ml", "lvef_percent", "rvef_percent")
        return {name: getattr(self, name) for name in names}


def of_sex(pair: Pair, sex: Array) -> Array:
    """Return the number of each person's sex, (N,)."""
    return np.asarray(np.where(sex > 0.5, pair[1], pair[0]), dtype=np.float64)


def generator(seed: int, number: int, part: int) -> np.random.Generator:
    """Return the random numbers of one part of one subject, independent of all others."""
    return np.random.default_rng([seed, number, part])


def draw_people(seed: int, numbers: Iterable[int], ages: tuple[float, float] = AGES) -> People:
    """Draw subjects; each depends on the seed and its number alone.

    Args:
        seed: of the population.
        numbers: of the subjects.
        ages: years, drawn uniformly.
    """
    rows = [_draw(generator(seed, number, 0)) for number in numbers]
    uniform, normal = np.stack([r[0] for r in rows]), np.stack([r[1] for r in rows])
    sex = (uniform[:, 0] < 0.5).astype(np.float64)
    age = ages[0] + (ages[1] - ages[0]) * uniform[:, 1]
    bmi = np.clip(of_sex(BMI, sex) + of_sex(BMI_SD, sex) * normal[:, 1], *BMI_RANGE)
    sbp = of_sex(SBP_MMHG, sex) + of_sex(SBP_SD_MMHG, sex) * normal[:, 2] + SBP_PER_YEAR * (age - 62)
    return People(
        age_years=age,
        sex=sex,
        height_cm=of_sex(HEIGHT_CM, sex) + of_sex(HEIGHT_SD_CM, sex) * normal[:, 0],
        bmi=bmi,
        sbp_mmhg=sbp,
        effects=normal[:, 3:],
        first_age_years=age,
    )


def _draw(random: np.random.Generator) -> tuple[Array, Array]:
    return random.uniform(size=2), random.standard_normal(3 + len(EFFECTS))


def targets(people: People, law: Law, *, effect_scale: float, cohort: float = 0.0) -> Targets:
    """Return what the hearts of these people measure.

    Args:
        people: with their random effects.
        law: constants.
        effect_scale: multiplies every slope of age.
        cohort: change of the logarithm of men's mass per decade between first and present visit that people of
            different ages do not show: 0 where ageing is what is seen across people.
    """
    decades = effect_scale * (people.age_years - 60) / 10
    since = effect_scale * (people.age_years - people.first_age_years) / 10
    sex = people.sex
    tall = people.height_cm / of_sex(HEIGHT_CM, sex)
    heavy = (people.bmi - 26.6) / 4.3
    pressure = (people.sbp_mmhg - of_sex(SBP_MMHG, sex)) / 18
    size, function = people.effect("size"), people.effect("function")
    lvedv = of_sex(law.lvedv, sex) * tall**2 * np.exp(
        heavy * np.log(1.048) + pressure * np.log(1.045) - 0.06 * decades + law.lvedv_sd * size
    )  # fmt: skip
    lvef_noise = law.lvef_sd * mixed(law.lvef_by_size, size, function)
    lvef = np.clip(of_sex(law.lvef, sex) + lvef_noise + 0.2 * decades, 42, 76) + 0.6 * pressure
    lvm = of_sex(law.lvm, sex) * tall**1.7 * np.exp(
        heavy * np.log(1.083) + pressure * np.log(1.068) + of_sex(law.lvm_age, sex) * decades
        + cohort * sex * since + law.lvm_sd * mixed(law.lvm_by_size, size, people.effect("mass"))
    )  # fmt: skip
    rvedv = of_sex(law.rvedv, sex) * tall**2 * np.exp(
        heavy * np.log(1.053) - 0.06 * decades + law.rvedv_sd * mixed(0.8, size, people.effect("rv_size"))
    )  # fmt: skip
    rvef_noise = law.rvef_sd * mixed(0.6, function, people.effect("rv_function"))
    rvef = np.clip(of_sex(law.rvef, sex) + rvef_noise + 1.0 * decades, 40, 74)
    stretch = np.exp(0.05 * people.effect("elongation") - 0.02 * decades)
    length = np.minimum(92 * np.cbrt(lvedv / 150) * stretch, law.longest_mm)
    return Targets(lvedv, lvef, lvm, rvedv, rvef, length)


def mixed(correlation: float, shared: Array, own: Array) -> Array:
    """Return a standard normal variable that has this correlation with a shared one."""
    return np.asarray(correlation * shared + np.sqrt(1 - correlation**2) * own)
