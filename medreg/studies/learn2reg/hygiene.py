"""What counts for values that are missing or infinite before methods are ranked, and which items are the hardest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medreg.studies.learn2reg.ranking_rules import HARD_SHARE, Rules, kind_of
from medreg.studies.learn2reg.ranking_scores import worst_count

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Cleaned:
    """Values without NaN, and how many had to be replaced."""

    values: Array
    replaced: int


def cleaned(values: Array, *, metric: str, rules: Rules) -> Cleaned:
    """Replace NaN, and infinite surface distances, as the rules of the task say.

    Args:
        values: (K,), one method's items of a metric; better values may be larger or smaller.
        metric: name of the metric.
        rules: of the task.
    """
    kind = kind_of(metric)
    undefined = np.isnan(values)
    instead = {"dice": rules.dice_nan, "hd95": rules.hd95_nan, "tre": rules.tre_nan}.get(kind, np.inf)
    out = np.where(undefined, instead, values)
    if kind == "hd95":
        infinite = np.isinf(values)
        out = np.where(infinite, rules.hd95_inf, out)
        undefined = undefined | infinite
    return Cleaned(out, int(undefined.sum()))


def sign_of(metric: str) -> float:
    """Return 1 for a metric that should be large, −1 for all others."""
    return 1.0 if kind_of(metric) == "dice" else -1.0


def regularity_of_nothing(values: Array, *, rules: Rules) -> Array:
    """Return what the zero field's SD of the log Jacobian, (C,), counts as: doing nothing must not win."""
    if rules.sdlogj_unregistered is None:
        return values
    if rules.sdlogj_unregistered_last_case:
        return np.append(values[:-1], rules.sdlogj_unregistered)
    return np.full_like(values, rules.sdlogj_unregistered)


def hardest(before: Array, cases: NDArray[np.int64], *, metric: str, rules: Rules) -> NDArray[np.int64]:
    """Return the indices of the 30 % of the items that were worst before registration.

    Args:
        before: (K,), values of the unregistered state.
        cases: (K,), case of each item.
        metric: name of the metric, for its direction.
        rules: whether the items of all cases are pooled or each case gives its own 30 %.
    """
    worth = before * sign_of(metric)  # smallest is worst
    if rules.hardest == "case":
        groups = [np.flatnonzero(cases == case) for case in np.unique(cases)]
    else:
        groups = [np.arange(len(before))]
    easiest = rules.hardest == "pooled_easiest"
    chosen = []
    for group in groups:
        order = np.argsort(-worth[group] if easiest else worth[group], kind="stable")
        chosen.append(group[order[: worst_count(len(group), share=HARD_SHARE)]])
    return np.concatenate(chosen)
