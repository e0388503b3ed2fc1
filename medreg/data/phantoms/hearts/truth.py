"""What is known about the heart population without drawing a heart: effects, contrasts, change, what cannot be known.

All from the law and without rasterisation. Models are compared with rendered hearts, which are a few per cent off;
these numbers say what an effect is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from medreg.data.phantoms.hearts.law import (
    BMI,
    EFFECTS,
    HEIGHT_CM,
    SBP_MMHG,
    Array,
    People,
    Targets,
)
from medreg.data.phantoms.hearts.population import Population
from medreg.data.phantoms.hearts.visits import SBP_PER_YEAR, second_visit
from medreg.errors import ConfigError

UNITS = {
    "age_years": 10.0,
    "sex": 1.0,
    "height_cm": 10.0,
    "weight_kg": 10.0,
    "sbp_mmhg": 18.0,
}  # of an effect
MEASURES = ("lvedv_ml", "lvesv_ml", "lvm_g", "rvedv_ml", "rvesv_ml", "lvef_percent", "rvef_percent")
# Measure, condition and sex (None: both) between which there is no effect.
CONTROLS = (("rvedv_ml", "sbp_mmhg", None), ("rvesv_ml", "sbp_mmhg", None), ("lvm_g", "age_years", 0))
AFAR = 10.0  # years between visits at which ageing is judged
CHUNK = 1_000_000  # numbers of people who are drawn for truths alone begin here


def population_of(options: Mapping[str, Any]) -> Population:
    """Return the population of the options of `HeartPopulation`, or of the parameters in its folder.

    Args:
        options: those of a population, and others, which are ignored.

    Raises:
        ConfigError: one is missing.
    """
    names = Population.__dataclass_fields__
    missing = [name for name in names if name not in options]
    if missing:
        raise ConfigError(f"These are no options of a heart population: {missing[0]} is missing.")
    return Population(**{name: options[name] for name in names})


def known_effects(
    options: Mapping[str, Any] | Population, people: int = 20_000
) -> dict[str, dict[str, float]]:
    """Return the effect of each condition on each measure, the other conditions held: a regression over the population.

    Args:
        options: of the population.
        people: that are drawn.

    Returns:
        Measure → condition → change of the measure (mL, g or per cent) per `UNITS` of the condition.
    """
    drawn, exact = _drawn(_population(options), people)
    return {name: effects_of(drawn.covariates(), values) for name, values in exact.measures().items()}


def effects_of(covariates: Mapping[str, Array], values: Array) -> dict[str, float]:
    """Return the coefficients of a linear regression, per `UNITS` of each condition.

    Args:
        covariates: name → (N,).
        values: (N,).
    """
    columns = np.stack([np.asarray(covariates[name]) / unit for name, unit in UNITS.items()], axis=1)
    columns = columns - columns.mean(axis=0)
    found = np.linalg.lstsq(columns, values - values.mean(), rcond=None)[0]
    return {name: float(value) for name, value in zip(UNITS, found, strict=True)}


def explained_by_conditions(
    options: Mapping[str, Any] | Population, people: int = 20_000
) -> dict[str, float]:
    """Return R² of each measure given all conditions, by a linear regression."""
    drawn, exact = _drawn(_population(options), people)
    columns = np.stack([np.ones(people), *drawn.covariates().values()], axis=1)
    out = {}
    for name, values in exact.measures().items():
        rest = values - columns @ np.linalg.lstsq(columns, values, rcond=None)[0]
        out[name] = float(1 - rest.var() / values.var())
    return out


def moments(
    options: Mapping[str, Any] | Population, people: int = 20_000
) -> dict[int, dict[str, tuple[float, float]]]:
    """Return mean and standard deviation of each measure, by sex (0 women, 1 men)."""
    drawn, exact = _drawn(_population(options), people)
    values = {**exact.measures(), "length_mm": exact.length_mm}
    return {
        sex: {name: (float(v[chosen].mean()), float(v[chosen].std())) for name, v in values.items()}
        for sex in (0, 1)
        for chosen in [drawn.sex == sex]
    }


def ranges(
    options: Mapping[str, Any] | Population, people: int = 20_000
) -> dict[int, dict[str, tuple[float, float]]]:
    """Return the range that holds 95 % of each measure, by sex (0 women, 1 men)."""
    drawn, exact = _drawn(_population(options), people)
    out: dict[int, dict[str, tuple[float, float]]] = {0: {}, 1: {}}
    for sex, found in out.items():
        for name, values in exact.measures().items():
            low, high = np.percentile(values[drawn.sex == sex], [2.5, 97.5])
            found[name] = (float(low), float(high))
    return out


def group_means(
    options: Mapping[str, Any] | Population, edges: Sequence[float], people: int = 20_000
) -> dict[int, dict[str, list[float]]]:
    """Return means of each measure by sex and group of age.

    Args:
        options: of the population.
        edges: years at which a new group begins, rising.
        people: that are drawn.
    """
    drawn, exact = _drawn(_population(options), people)
    group = np.searchsorted(np.asarray(edges), drawn.age_years, side="right")
    return {
        sex: {
            name: [float(v[(drawn.sex == sex) & (group == k)].mean()) for k in range(len(edges) + 1)]
            for name, v in exact.measures().items()
        }
        for sex in (0, 1)
    }


def person(sex: int, **given: float) -> People:
    """Return a person without random effects: 62.5 years old and of the mean of the sex in what is not given.

    Args:
        sex: 0 women, 1 men.
        given: age_years, height_cm, bmi, sbp_mmhg.
    """
    usual = {"age_years": 62.5, "height_cm": HEIGHT_CM[sex], "bmi": BMI[sex], "sbp_mmhg": SBP_MMHG[sex]}
    values = {name: np.array([float(value)]) for name, value in (usual | given).items()}
    return People(
        sex=np.array([float(sex)]),
        effects=np.zeros((1, len(EFFECTS))),
        first_age_years=values["age_years"],
        **values,
    )


def expected(options: Mapping[str, Any] | Population, someone: People) -> dict[str, float]:
    """Return the measures of a person's heart without random effects."""
    exact = _population(options).targets(someone)
    return {name: float(values[0]) for name, values in exact.measures().items()}


def contrasts(options: Mapping[str, Any] | Population) -> dict[str, tuple[dict[str, float], ...]]:
    """Return measures of persons that differ in one thing; the first two names are single persons."""
    people = {
        "typical woman": [person(0)],
        "typical man": [person(1)],
        "sex at one size": [person(sex, height_cm=170, bmi=26.6, sbp_mmhg=137) for sex in (0, 1)],
        "age of men": [person(1, age_years=age) for age in (47.5, 77.5)],
        "age of women": [person(0, age_years=age) for age in (47.5, 77.5)],
        "pressure of men": [person(1, sbp_mmhg=sbp) for sbp in (123, 159)],
        "weight of men": [person(1, bmi=bmi) for bmi in (22.8, 31.4)],
    }
    return {name: tuple(expected(options, one) for one in several) for name, several in people.items()}


def unknowable_lvesv_ml(options: Mapping[str, Any] | Population, people: int = 20_000) -> float:
    """Return the mean error of the end-systolic volume of the best prediction from end-diastole and conditions, mL.

    What is left is the ejection fraction's own noise: that which size does not tell.
    """
    population = _population(options)
    drawn, exact = _drawn(population, people)
    law = population.law
    spread = exact.lvedv_ml * law.lvef_sd * np.sqrt(1 - law.lvef_by_size**2) / 100
    return float(np.abs(spread * drawn.effect("function")).mean())


def longitudinal(
    options: Mapping[str, Any] | Population, measure: str = "lvedv_ml", pairs: int = 20_000
) -> dict[tuple[int, str], dict[str, float]]:
    """Return how a measure changes between two visits, and how well that can be predicted.

    Args:
        options: of the population, with ageing consistent or confounded.
        measure: name.
        pairs: of visits that are drawn.

    Returns:
        (sex, `all` or `afar`) → `change`, the mean; `no_change_mae`, of the baseline as prediction; `ideal_mae`, of the
        baseline changed by age and the mean drift of pressure, the random effects of the person known; `ideal_r`,
        correlation of that change with the observed one. `afar`: visits `AFAR` years or more apart.
    """
    population = _population(options)
    numbers = range(CHUNK, CHUNK + pairs)
    first = population.people(numbers, pairs=True)
    later = second_visit(first, population.seed, numbers, repose=False)
    seen = [population.drawn(p, numbers, visit).measures()[measure] for visit, p in ((1, first), (2, later))]
    gap = later.age_years - first.age_years
    drifted = _drifted(first, gap)
    shift = population.targets(drifted).measures()[measure] / population.targets(first).measures()[measure]
    change, ideal = seen[1] - seen[0], seen[0] * (shift - 1)
    out = {}
    for sex in (0, 1):
        for word, chosen in (("all", first.sex == sex), ("afar", (first.sex == sex) & (gap >= AFAR))):
            out[(sex, word)] = {
                "change": float(change[chosen].mean()),
                "no_change_mae": float(np.abs(change[chosen]).mean()),
                "ideal_mae": float(np.abs(ideal - change)[chosen].mean()),
                "ideal_r": float(np.corrcoef(ideal[chosen], change[chosen])[0, 1]),
            }
    return out


def _drifted(first: People, gap: Array) -> People:
    return People(
        age_years=first.age_years + gap,
        sex=first.sex,
        height_cm=first.height_cm,
        bmi=first.bmi,
        sbp_mmhg=first.sbp_mmhg + SBP_PER_YEAR * gap,
        effects=first.effects,
        first_age_years=first.first_age_years,
    )


def _population(options: Mapping[str, Any] | Population) -> Population:
    return options if isinstance(options, Population) else population_of(options)


@lru_cache(maxsize=4)
def _drawn(population: Population, people: int) -> tuple[People, Targets]:
    drawn = population.people(range(CHUNK, CHUNK + people))
    return drawn, population.targets(drawn)
