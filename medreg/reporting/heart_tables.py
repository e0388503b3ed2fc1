"""The numbers of a run on hearts: one row a heart in `measures.csv`, and what was pooled over hearts in results.csv."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from medreg.errors import DataError
from medreg.metrics.hearts.sources import AGED, AGEING, GAP, GENERATED, POPULATION, REAL, TABLE, TO_GROUP
from medreg.reporting.results import RunFolder
from medreg.reporting.views import Array

TRAINING = "training_measures.csv"  # of a run: its real training hearts
SEXES = {0: "women", 1: "men"}
# Age groups of Qiao et al., STACOM 2022 (AgeHeart).
FIRST_ENDS, GROUP_YEARS = 51.0, 5.0  # years
GROUPS = ("≤ 50", "51–55", "56–60", "61–65", "66–70", "71–75", "> 75")
FEWEST = 5  # hearts of a group below which its distribution is not shown


@dataclass(frozen=True)
class Measure:
    """A measure of a heart in print."""

    label: str
    unit: str
    decimals: int = 1

    @property
    def heading(self) -> str:
        """Such as "LVEDV (mL)"."""
        return f"{self.label} ({self.unit})"


MEASURES = {
    "lvedv_ml": Measure("LVEDV", "mL"),
    "lvesv_ml": Measure("LVESV", "mL"),
    "lvm_g": Measure("LVM", "g"),
    "rvedv_ml": Measure("RVEDV", "mL"),
    "rvesv_ml": Measure("RVESV", "mL"),
    "lvef_percent": Measure("LVEF", "%"),
    "rvef_percent": Measure("RVEF", "%"),
    "lvsv_ml": Measure("LVSV", "mL"),
    "rvsv_ml": Measure("RVSV", "mL"),
    "lvesm_g": Measure("LV mass at ES", "g"),
    "lvco_l_min": Measure("LV cardiac output", "L/min", 2),
    "rvco_l_min": Measure("RV cardiac output", "L/min", 2),
}
SHOWN = tuple(MEASURES)[:6]  # of which distributions are drawn
CONDITIONS = {
    "sex": "sex (men − women)",
    "age_years": "age",
    "height_cm": "height",
    "weight_kg": "weight",
    "sbp_mmhg": "systolic pressure",
}


def measure(name: str) -> Measure:
    """The printed form of a measure; an unknown one keeps its name."""
    return MEASURES.get(name, Measure(name.replace("_", " "), "as measured"))


def read_measures(run: RunFolder) -> pd.DataFrame:
    """The hearts of a run, numbers where there are any; no row where nothing was measured.

    Raises:
        DataError: a table without the columns case and source.
    """
    file = run.path / f"{TABLE}.csv"
    if not file.is_file() or file.stat().st_size == 0:
        return pd.DataFrame({"case": [], "source": []})
    return _read(file)


def read_every_real(run: RunFolder, hearts: pd.DataFrame) -> pd.DataFrame:
    """The real hearts of the test and, where a run has measured them, of the training: a population is known better.

    Args:
        run: The files of the run.
        hearts: of `read_measures`.
    """
    own, file = real_hearts(hearts), run.path / TRAINING
    if not file.is_file() or file.stat().st_size == 0:
        return own
    return pd.concat([own, _read(file)], ignore_index=True)


def _read(file: Path) -> pd.DataFrame:
    table = pd.read_csv(file)
    missing = {"case", "source"} - set(table.columns)
    if missing:
        raise DataError(f"{file} lacks the columns {', '.join(sorted(missing))}; evaluate the run again.")
    for name in set(table.columns) & {
        *MEASURES,
        *CONDITIONS,
        "sample",
        *AGEING,
        "wrap_ml",
        "es_frame",
        "largest_frame",
    }:
        table[name] = pd.to_numeric(table[name], errors="coerce")
    return table


def age_groups(years: Array) -> Array:
    """Places in `GROUPS` of ages in years; −1 where the age is not known."""
    ages = np.asarray(years, dtype=float)
    groups = 1 + np.floor((np.nan_to_num(ages) - FIRST_ENDS) / GROUP_YEARS)
    return np.where(np.isfinite(ages), groups.clip(0, len(GROUPS) - 1), -1).astype(int)


def with_groups(hearts: pd.DataFrame) -> pd.DataFrame:
    """Add the column `age_group`: that to which a heart was aged, else that of its age."""
    ages = hearts["age_years"].to_numpy(float) if "age_years" in hearts else np.full(len(hearts), np.nan)
    groups = age_groups(ages)
    if TO_GROUP in hearts:
        asked = hearts[TO_GROUP].to_numpy(float)
        groups = np.where(np.isfinite(asked), asked, groups).astype(int)
    return hearts.assign(age_group=groups)


def by_sex(hearts: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The hearts of women and of men, as far as there are any; all of them where no sex is known."""
    known = [] if "sex" not in hearts else [code for code in SEXES if (hearts["sex"] == code).any()]
    if not known:
        yield "all", hearts
    for code in known:
        yield SEXES[code], hearts[hearts["sex"] == code]


def values_of(hearts: pd.DataFrame, name: str) -> Array:
    """(n,) finite values of a measure."""
    found = hearts[name].to_numpy(float) if name in hearts else np.array([])
    return np.asarray(found[np.isfinite(found)])


def measured(hearts: pd.DataFrame, names: Sequence[str] = SHOWN) -> list[str]:
    """The measures of which a table has numbers."""
    return [name for name in names if len(values_of(hearts, name))]


def made_source(hearts: pd.DataFrame) -> str | None:
    """The source that stands for what the model makes of a whole population, None where there is none."""
    present = set(hearts["source"])
    return next((name for name in (GENERATED, AGED) if name in present), None)


def cross_sectional(hearts: pd.DataFrame) -> pd.DataFrame:
    """The hearts without second visits and what was predicted for them."""
    return hearts[hearts[GAP].isna()] if GAP in hearts else hearts


def real_hearts(hearts: pd.DataFrame) -> pd.DataFrame:
    """The real hearts at their first visit."""
    own = cross_sectional(hearts)
    return own[own["source"] == REAL]


def distance(real: Array, made: Array, sd: float) -> tuple[float, float]:
    """1-Wasserstein distance of two samples, in their unit and in standard deviations; NaN without two of each."""
    if min(len(real), len(made)) < 2:
        return float("nan"), float("nan")
    from scipy.stats import wasserstein_distance

    found = float(wasserstein_distance(real, made))
    return found, found / sd if sd > 0 else float("nan")


def real_sd(hearts: pd.DataFrame, name: str) -> float:
    """Standard deviation (n − 1) of a measure of all real hearts; NaN for fewer than two."""
    values = values_of(real_hearts(hearts), name)
    return float(values.std(ddof=1)) if len(values) > 1 else float("nan")


def compared(hearts: pd.DataFrame) -> pd.DataFrame:
    """The hearts whose distributions are compared: real ones, new ones, and those brought to every age group."""
    own = cross_sectional(hearts)
    if TO_GROUP in own:
        own = own[(own["source"] != AGED) | own[TO_GROUP].notna()]
    return own


def pooled(run: RunFolder) -> pd.DataFrame:
    """Rows of results.csv that are of the population."""
    return run.results[run.results["case"] == POPULATION] if not run.results.empty else run.results


def single(run: RunFolder) -> pd.DataFrame:
    """Rows of results.csv that are of a heart each."""
    return run.results[run.results["case"] != POPULATION] if not run.results.empty else run.results
