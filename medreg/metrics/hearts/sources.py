"""What the table `measures.csv` of a run holds: a row a heart, where it comes from, and what else is known of it.

Every row of a run has the same columns: `case` (the store adds it), `source`, `sample`, the covariates by name, further
columns of the kind of task, and the measures of `measures.MEASURES` and `measures.FURTHER`.

A task about ageing has the further columns `AGEING`:

- `reconstructed`: the heart as the model gives it back at its own age;
- `aged` with an empty `gap_years`: the same heart at the age of group `to_group`, `to_age_years`;
- `aged` with a `gap_years`: what the model predicts for the person's second visit so many years later (`sample` 0 the
  single best guess, further samples 1, 2, … where the model draws them);
- `later` with the same `gap_years`: what that visit has shown.

The covariates of `aged` are those of the person as they are, those of `later` belong to the second visit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

TABLE: Final = "measures"  # of a run: measures.csv
POPULATION: Final = "population"  # the case whose rows are about all hearts together

REAL: Final = "real"  # a test heart
REAL_TRAINING: Final = "real_training"  # a training heart; not in the file, added when rows are pooled
COMPLETED: Final = "completed"  # from its first frame, by the mean code
COMPLETED_SAMPLE: Final = "completed_sample"  # the same, by a drawn code
GENERATED: Final = "generated"  # a new heart at the conditions of the case
RECONSTRUCTED: Final = "reconstructed"
AGED: Final = "aged"
LATER: Final = "later"
SOURCES: Final = (
    REAL, REAL_TRAINING, COMPLETED, COMPLETED_SAMPLE, GENERATED, RECONSTRUCTED, AGED, LATER,
)  # fmt: skip

TO_GROUP: Final = "to_group"  # 0 to 6
TO_AGE: Final = "to_age_years"
GAP: Final = "gap_years"  # from the first visit to the second
AGEING: Final = (TO_GROUP, TO_AGE, GAP)


def heart_row(
    source: str,
    sample: int,
    covariates: Mapping[str, float],
    measures: Mapping[str, float],
    **further: float | str,
) -> dict[str, Any]:
    """Return a row of `measures.csv`; give the same covariates and further columns in every row of a run.

    Args:
        source: one of `SOURCES`.
        sample: number among those of one case and source, from 0.
        covariates: by name; NaN unknown.
        measures: of `HeartEvaluator.measures`.
        **further: columns of the kind of task.

    Raises:
        ValueError: another source.
    """
    if source not in SOURCES:
        raise ValueError(f"{source!r} is no source of hearts; the sources are {', '.join(SOURCES)}.")
    told = {name: float(value) for name, value in covariates.items()}
    return {"source": source, "sample": int(sample), **told, **further, **measures}
