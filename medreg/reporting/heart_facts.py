"""What is known of a model of hearts in few words: frames, tell-tale differences, memory, control."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from medreg.reporting.cells import NONE, number
from medreg.reporting.heart_effects import lookup_of
from medreg.reporting.heart_tables import MEASURES, measure
from medreg.reporting.tables import OVERALL, Cell, Table

Values = Mapping[tuple[str, str], float]
HEADER = ("what", "model", "real hearts", "what it means")


@dataclass(frozen=True)
class Fact:
    """One pooled number in words.

    Attributes:
        words: what it is.
        metric: its name.
        real: the same of real hearts, empty where there is none.
        digits: that are printed.
        unit: behind the number.
        meaning: how it is to be read.
        ends: names of the ends of its interval.
    """

    words: str
    metric: str
    real: str
    digits: int
    unit: str
    meaning: str
    ends: tuple[str, str] | tuple[()] = ()


POOLED = (
    Fact("Generated: LV largest at ED", "modelled_largest_first_percent", "modelled_real_largest_first_percent",
         0, " %", "share of hearts whose first frame is the largest"),
    Fact("Generated: ES in the usual frame", "modelled_es_frame_percent", "modelled_real_es_frame_percent",
         0, " %", "within one frame of the usual ES of real hearts"),
    Fact("Generated: wrap-around", "wrap_ml", "wrap_real_ml", 1, " mL",
         "LV volume of the last frame against the first; a cycle closes"),
    Fact("The same, by that of real hearts", "wrap_ratio", "", 2, "", "should not be far above 1"),
    Fact("Generated: structures missing at ED", "incomplete_percent", "", 1, " %", "share of hearts"),
    Fact("Told apart from real hearts", "two_sample_accuracy", "", 2, "",
         "accuracy of a classifier on measures; 0.5: cannot be told apart, 1: always",
         ("two_sample_low", "two_sample_high")),
    Fact("Distance to the nearest training heart", "memorisation_median_modelled", "memorisation_median_held_out",
         3, "", "1 − Dice at ED; for real hearts: of those held out"),
    Fact("Nearest training heart against nearest held-out one", "memorisation_against_held_out", "", 2, "",
         "ratio of distances; 1: no memorisation, well below 1: training hearts are given back"),
    Fact("Nearer to a training heart than any held-out heart", "memorisation_copies_percent", "", 1, " %",
         "share of generated hearts"),
    Fact("Rank of the age that a judge sees", "judge_spearman", "", 2, "",
         "Spearman over age groups; the judge has seen real hearts only"),
    Fact("Age seen by the judge: correlation with the age asked", "judge_r_generated", "judge_r_real", 2, "",
         "of generated hearts and of real test hearts"),
    Fact("Aged hearts: age seen within one group", "judge_within_one_percent_aged",
         "judge_within_one_percent_real", 0, " %", "by a judge of real hearts only"),
    Fact("Turn of the septum by ageing", "septal_turn_deg", "", 1, "°", "median; the pose should stay"),
)  # fmt: skip
OF_CASES = (
    ("largest_first_percent", "Completed: LV largest at ED", 0, " %", "share of test hearts"),
    ("es_frame_percent", "Completed: ES in the right frame", 0, " %", "within one frame of the real ES"),
)
CONTROLLED = ("lvedv_ml", "lvm_g", "rvedv_ml")


def fact_table(pooled: pd.DataFrame, single: pd.DataFrame) -> Table | None:
    """What is known in words, None where nothing is.

    Args:
        pooled: rows of the case `population`.
        single: rows of the hearts one by one.
    """
    values = lookup_of(pooled) if len(pooled) else {}
    rows = [*_of_cases(single), *_of_population(values), *_controllability(values)]
    return Table("", HEADER, tuple(tuple(map(Cell, row)) for row in rows)) if rows else None


def error_table(single: pd.DataFrame) -> Table | None:
    """Errors of the clinical measures of each method, mean ± SD over hearts and the bias; None without any."""
    rows = single[single["metric"].isin(("measure_error", "measure_bias"))]
    methods = list(dict.fromkeys(rows["method"].astype(str)))
    names = [name for name in MEASURES if (rows["structure"] == name).any()]
    if not names:
        return None
    table = tuple(
        (Cell(measure(name).heading), *(_error_cell(rows, method, name) for method in methods))
        for name in names
    )
    notes = ("Mean ± SD over hearts of the absolute error; below: mean of the error with its sign.",)
    return Table("Errors of the measures", ("measure", *methods), table, notes)


def _error_cell(rows: pd.DataFrame, method: str, name: str) -> Cell:
    own = rows[(rows["method"] == method) & (rows["structure"] == name)]
    errors, bias = (
        own.loc[own["metric"] == metric, "value"].to_numpy(float)
        for metric in ("measure_error", "measure_bias")
    )
    errors, bias = errors[np.isfinite(errors)], bias[np.isfinite(bias)]
    if not len(errors):
        return Cell(NONE)
    digits = measure(name).decimals
    spread = f" ± {number(float(errors.std(ddof=1)), digits)}" if len(errors) > 1 else ""
    signed = number(float(bias.mean()), digits, sign=True) if len(bias) else ""
    return Cell(f"{number(float(errors.mean()), digits)}{spread}", signed)


def _of_cases(single: pd.DataFrame) -> Iterator[Sequence[str]]:
    """Shares of test hearts, of the first method that has them."""
    for metric, words, digits, unit, meaning in OF_CASES if len(single) else ():
        rows = single[(single["metric"] == metric) & single["structure"].isin(OVERALL)]
        if len(rows):
            own = rows[rows["method"] == rows["method"].iloc[0]]
            yield words, f"{number(float(own['value'].mean()), digits)}{unit}", "", meaning


def _of_population(values: Values) -> Iterator[Sequence[str]]:
    for fact in POOLED:
        found = values.get(("all", fact.metric), float("nan"))
        if not np.isfinite(found):
            continue
        ends = [values.get(("all", name), float("nan")) for name in fact.ends]
        told = f"{number(found, fact.digits)}{fact.unit}"
        if ends and np.isfinite(ends).all():
            told += f" ({number(ends[0], fact.digits)} to {number(ends[1], fact.digits)})"
        real = values.get(("all", fact.real), float("nan"))
        beside = f"{number(real, fact.digits)}{fact.unit}" if np.isfinite(real) else ""
        yield fact.words, told, beside, fact.meaning


def _controllability(values: Values) -> Iterator[Sequence[str]]:
    """How well hearts follow their conditions, by measure."""
    for name in CONTROLLED:
        found = values.get((name, "controllability"), float("nan"))
        single = values.get((name, "controllability_single"), float("nan"))
        if not np.isfinite(found):
            found = single
        if np.isfinite(found):
            real = values.get((name, "controllability_real"), float("nan"))
            told = number(found, 2)
            if np.isfinite(single) and single != found:
                told += f" (single hearts {number(single, 2)})"
            meaning = "correlation of what the conditions say with what is measured; means over hearts of one person"
            beside = f"{number(real, 2)} (single hearts)" if np.isfinite(real) else ""
            yield f"Controllability of {measure(name).label}", told, beside, meaning
