"""How old a heart looks: a regressor of age that has seen real training hearts only.

It is no part of any training, so that a model and its own classifier cannot agree on a private mark of age.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from medreg.metrics.hearts.measures import FloatArray
from medreg.metrics.hearts.pooled_hearts import AGE, SEX, age_group

if TYPE_CHECKING:
    import pandas as pd

FEATURES = ("lvedv_ml", "lvesv_ml", "lvm_g", "rvedv_ml", "rvesv_ml", "lvef_percent", "rvef_percent")
PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0)  # of ridge regression, of which cross-validation chooses
LEAST = 20  # training hearts


@dataclass(frozen=True)
class AgeJudge:
    """Ridge regression of age on measures, sex, and their products.

    Attributes:
        model: fitted pipeline.
        features: measures that it reads.
        sexes: whether it is told the sex.
    """

    model: Any
    features: tuple[str, ...]
    sexes: bool

    @classmethod
    def trained(cls, hearts: pd.DataFrame) -> AgeJudge | None:
        """Return a judge that has seen some real hearts; None for fewer than `LEAST` of known age."""
        from sklearn.linear_model import RidgeCV
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        if AGE not in hearts:
            return None
        features = tuple(name for name in FEATURES if name in hearts and hearts[name].notna().any())
        sexes = SEX in hearts and bool(hearts[SEX].notna().all()) and hearts[SEX].nunique() > 1
        rows = hearts[np.isfinite(hearts[[AGE, *features]].to_numpy(dtype=float)).all(axis=1)]
        if len(rows) < LEAST or rows[AGE].nunique() < 2:
            return None
        judge = cls(make_pipeline(StandardScaler(), RidgeCV(PENALTIES)), features, sexes)
        judge.model.fit(judge._told(rows), rows[AGE].to_numpy(dtype=float))
        return judge

    def ages(self, hearts: pd.DataFrame) -> FloatArray:
        """Return how old hearts look, years, (n,); NaN where a measure is unknown."""
        told = self._told(hearts)
        known = np.isfinite(told).all(axis=1)
        found = np.full(len(hearts), math.nan)
        if known.any():
            found[known] = self.model.predict(told[known])
        return found

    def _told(self, hearts: pd.DataFrame) -> FloatArray:
        plain = hearts[list(self.features)].to_numpy(dtype=float)
        if not self.sexes:
            return plain
        sex = hearts[[SEX]].to_numpy(dtype=float)
        return np.concatenate([plain, sex, plain * sex], axis=1)


def within_one_group(ages: FloatArray, groups: FloatArray) -> float:
    """Share of hearts that look as old as their age group or one beside it; NaN without any."""
    known = np.isfinite(ages) & np.isfinite(groups)
    return float((np.abs(age_group(ages) - groups)[known] <= 1).mean()) if known.any() else math.nan


def mean_spearman(ages: FloatArray, groups: FloatArray, cases: Sequence[str]) -> float:
    """Mean over cases of the rank correlation of how old a heart looks and the age that it was given.

    Args:
        ages: (n,) of `AgeJudge.ages`.
        groups: (n,) age that was asked for.
        cases: (n,) whose heart it is; a case with fewer than three hearts, or of one age alone, counts nothing.
    """
    from scipy.stats import spearmanr

    found = []
    names = np.asarray(cases)
    for case in dict.fromkeys(names.tolist()):
        own = (names == case) & np.isfinite(ages) & np.isfinite(groups)
        if own.sum() >= 3 and len(np.unique(groups[own])) > 1 and len(np.unique(ages[own])) > 1:
            found.append(float(spearmanr(ages[own], groups[own]).statistic))
    return float(np.mean(found)) if found else math.nan
