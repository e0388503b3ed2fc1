"""Whether a classifier can tell modelled hearts from real ones by their measures.

Source: D. Lopez-Paz and M. Oquab, Revisiting classifier two-sample tests, ICLR 2017. An accuracy of 0.5 means that it
cannot, 1 that it always can.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

FEATURES = (
    "lvedv_ml", "lvesv_ml", "lvm_g", "lvesm_g", "rvedv_ml", "rvesv_ml", "lvef_percent", "rvef_percent",
)  # fmt: skip
LEAF = 3  # hearts in a leaf of a tree


@dataclass(frozen=True)
class TwoSample:
    """Accuracies of cross-validation, means over repeats.

    Attributes:
        forest: of a random forest.
        linear: of logistic regression on the measures and their products.
        low: lower end of the 95 % interval of the greater of the two, as if of that many independent hearts (Wilson).
        high: upper end.
        cases: pairs of a real and a modelled heart.
    """

    forest: float
    linear: float
    low: float
    high: float
    cases: int

    @property
    def accuracy(self) -> float:
        """The greater of the two: hearts can be told apart if one of them can."""
        return max(self.forest, self.linear)


def two_sample(
    real: pd.DataFrame, modelled: pd.DataFrame, *, folds: int, repeats: int, trees: int, seed: int
) -> TwoSample | None:
    """Return how well real and modelled hearts of the same cases are told apart; None for fewer cases than 2 × folds.

    Every repeat takes one modelled heart a case, so that both kinds are as many and have the same conditions; the two
    hearts of a case are in the same fold, so that no case is learned from and judged.

    Args:
        real: a row a case, with the columns `FEATURES`.
        modelled: a row a heart, with the columns case and sample too.
        folds: of the cross-validation.
        repeats: of it, each with another modelled heart of every case.
        trees: of the forest.
        seed: of folds and forests.
    """
    features = [name for name in FEATURES if name in real and real[name].notna().all()]
    scores = [
        _accuracies(x, y, groups, folds, trees, seed + place)
        for place, (x, y, groups) in enumerate(_pairs(real, modelled, features, repeats))
        if len(np.unique(groups)) >= 2 * folds
    ]
    if not scores or not features:
        return None
    forest, linear = np.mean(scores, axis=0).tolist()
    cases = min(real["case"].nunique(), modelled["case"].nunique())
    low, high = wilson(max(forest, linear), 2 * cases)
    return TwoSample(forest, linear, low, high, cases)


def _pairs(
    real: pd.DataFrame, modelled: pd.DataFrame, features: Sequence[str], repeats: int
) -> Iterator[tuple[Any, Any, Any]]:
    """Yield features, kinds (1 modelled) and cases of each repeat."""
    known = real.drop_duplicates("case").set_index("case")
    for sample in sorted(modelled["sample"].unique())[:repeats]:
        own = modelled[modelled["sample"] == sample].drop_duplicates("case").set_index("case")
        cases = known.index.intersection(own.index)
        x = np.concatenate([frame.loc[cases, list(features)].to_numpy(dtype=float) for frame in (known, own)])
        # A heart without a ventricle has no ejection fraction: the classifier is told 0.
        yield np.nan_to_num(x), np.repeat([0, 1], len(cases)), np.tile(np.arange(len(cases)), 2)


def _accuracies(x: Any, y: Any, groups: Any, folds: int, trees: int, seed: int) -> tuple[float, float]:
    """Return the accuracies of forest and logistic regression in cross-validation by case."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler

    forest = RandomForestClassifier(trees, min_samples_leaf=LEAF, random_state=seed, n_jobs=1)
    linear = make_pipeline(StandardScaler(), PolynomialFeatures(2, include_bias=False), StandardScaler(),
                           LogisticRegression(C=1.0, max_iter=2000))  # fmt: skip
    division = GroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scores = [
            float(cross_val_score(model, x, y, groups=groups, cv=division, n_jobs=1).mean())
            for model in (forest, linear)
        ]
    return scores[0], scores[1]


def wilson(share: float, count: int, *, z: float = 1.959964) -> tuple[float, float]:
    """Return the interval of a share of so many trials.

    Source: E. B. Wilson, Journal of the American Statistical Association 22, 1927.
    """
    if count == 0:
        return math.nan, math.nan
    middle, spread = (
        share + z**2 / (2 * count),
        z * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)),
    )
    return (middle - spread) / (1 + z**2 / count), (middle + spread) / (1 + z**2 / count)
