"""The hearts of an evaluation, by where they come from, in an order that does not depend on interruptions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from medreg.errors import DataError
from medreg.metrics.hearts.measures import FURTHER, MEASURES, FloatArray
from medreg.metrics.hearts.sources import AGEING, REAL, REAL_TRAINING

if TYPE_CHECKING:
    import pandas as pd

AGE, SEX, GROUP = "age_years", "sex", "age_group"
SEXES = {"female": 0.0, "male": 1.0}
GROUPS = 7  # of age: below 51 years, then five years each, 76 and above (AgeHeart, utils.py, age_transform)
TEXT = ("case", "source")


class Hearts:
    """Rows of `measures.csv` and of training hearts.

    Args:
        frame: a row a heart, see `sources`.

    Raises:
        DataError: it lacks a column.
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        import pandas as pd

        missing = [name for name in (*TEXT, "sample", *MEASURES) if name not in frame]
        if missing:
            raise DataError(
                f"The table of hearts lacks the columns {', '.join(missing)}; evaluate the run again."
            )
        made = pd.DataFrame({name: frame[name].astype(str) for name in TEXT})
        for name in (str(column) for column in frame if column not in TEXT):
            made[name] = pd.to_numeric(frame[name], errors="coerce").astype(float)
        if AGE in made:
            made[GROUP] = age_group(made[AGE].to_numpy())
        self.frame = made.sort_values(
            ["source", "case", "sample", *self._order(made)], kind="stable"
        ).reset_index(drop=True)
        self.measures = [name for name in MEASURES if made[name].notna().any()]

    @staticmethod
    def _order(frame: pd.DataFrame) -> list[str]:
        return [name for name in AGEING if name in frame]

    def of(self, *sources: str) -> pd.DataFrame:
        """Return the hearts of some sources."""
        return self.frame[self.frame["source"].isin(sources)]

    @property
    def real(self) -> pd.DataFrame:
        """Real test hearts."""
        return self.of(REAL)

    @property
    def every_real(self) -> pd.DataFrame:
        """Real hearts of test and training."""
        return self.of(REAL, REAL_TRAINING)

    @property
    def covariates(self) -> list[str]:
        """Columns that are neither measures nor of the table itself."""
        known = {*TEXT, "sample", GROUP, *MEASURES, *FURTHER, *AGEING}
        return [str(name) for name in self.frame if name not in known]


def age_group(years: FloatArray) -> FloatArray:
    """Return the group, 0 to 6, of ages in years; NaN stays (AgeHeart, utils.py, age_transform)."""
    return np.clip(1 + np.floor((np.asarray(years, dtype=float) - 51.0) / 5.0), 0, GROUPS - 1)


def by_sex(frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield "female" and "male" with their hearts, where the sex is known."""
    if SEX in frame:
        for word, code in SEXES.items():
            yield word, frame[frame[SEX] == code]


def groups_of(frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the hearts of each sex and of each age group, by the end of the names of their rows."""
    yield from by_sex(frame)
    if GROUP in frame:
        for group in range(GROUPS):
            yield f"age_{group}", frame[frame[GROUP] == group]
