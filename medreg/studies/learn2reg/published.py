"""Published numbers of Learn2Reg, to stand beside ours: `experiments/learn2reg/expected.csv`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

import medreg
from medreg.errors import DataError

COLUMNS = ("paper", "dataset", "split", "method", "metric", "value", "unit", "source", "standing")
STANDINGS = ("confirmed", "partly", "unconfirmed")
MARK = "published"


def published_file() -> Path:
    """Return the table of published numbers: in the checkout, or inside an installed package.

    Raises:
        DataError: the installation lacks it.
    """
    package = Path(medreg.__file__).resolve().parent
    for candidate in (
        package / "_experiments" / "learn2reg" / "expected.csv",
        package.parent / "experiments" / "learn2reg" / "expected.csv",
    ):
        if candidate.is_file():
            return candidate
    raise DataError(f"The table of published numbers is missing beside {package}; install medreg again.")


def read_published(
    task: str, *, split: str | None = None, standing: tuple[str, ...] = ("confirmed",)
) -> pd.DataFrame:
    """Return the published rows of a task.

    Args:
        task: name of the task, such as OASIS.
        split: "val" or "test"; None takes both.
        standing: how well the numbers are known: "confirmed" (read in printed outputs of the organisers or authors),
            "partly" (somebody else's evaluation), "unconfirmed".

    Returns:
        Columns `COLUMNS`, `value` as a number; rows without a number are left out.

    Raises:
        DataError: no number of that task is known; the tasks with numbers are named.
    """
    table = pd.read_csv(published_file(), dtype={"unit": str})
    rows = table[table["dataset"].eq(task) & table["standing"].isin(standing) & table["value"].notna()]
    if split is not None:
        rows = rows[rows["split"] == split]
    if rows.empty:
        known = ", ".join(sorted(set(table.loc[table["value"].notna(), "dataset"])))
        where = f" of the {split} split" if split is not None else ""
        raise DataError(f"No published numbers{where} are known for {task}; there are some for {known}.")
    return rows.reset_index(drop=True)


def published_means(task: str, *, split: str | None = None) -> pd.DataFrame:
    """Return published means of a task, one row a method and one column a metric.

    The method is marked with "published" and the split: these numbers come from other cases, or from a table with
    other methods, so rank scores are never computed from them and printed scores hold within their own table only.

    Args:
        task: name of the task.
        split: "val" or "test"; None takes both.
    """
    rows = read_published(task, split=split)
    names = rows["method"] + f" ({MARK}, " + rows["split"] + ")"
    wide = rows.assign(method=names).pivot_table(
        index="method", columns="metric", values="value", aggfunc="first", sort=False
    )
    return wide.rename_axis(columns=None)
