"""What people and reports read of a capture range: starts.csv, landscapes.csv and rates.csv, made from the store."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from medreg.errors import DataError
from medreg.study.store import Store
from medreg.study.view import write_csv

STORE = "capture.jsonl"
# Part → columns of its table, and those that name a row.
VIEWS = {
    "starts": (
        ("measure", "title", "digest", "rate", "family", "low", "high", "case", "draw",
         "start", "final", "energy_start", "energy_final", "inside", "cpu_seconds"),
        ("measure", "family", "low", "high", "case", "draw"),
    ),
    "landscapes": (
        ("measure", "title", "digest", "family", "value", "case", "energy"),
        ("measure", "family", "value", "case"),
    ),
    "rates": (
        ("measure", "title", "digest", "rate", "starts", "successes", "mean_final", "chosen"),
        ("measure", "rate"),
    ),
}  # fmt: skip


def open_store(out: Path) -> Store:
    """Open the store of a folder.

    Raises:
        DataError: the folder holds tables without the store that they were made from.
    """
    store = Store(out / STORE)
    tables = [f"{part}.csv" for part in VIEWS if (out / f"{part}.csv").is_file()]
    if tables and not len(store):
        raise DataError(
            f"{out} holds {', '.join(tables)} of another version, without {STORE}; move them away, or choose another "
            "out=FOLDER."
        )
    return store


def write_views(store: Store, out: Path) -> None:
    """Write the table of every part that has rows.

    A measure's own rows stand before those that another left as the first of its two stages.
    """
    store.refresh()
    found = sorted(
        ((one.key, row) for one in store for row in one.rows),
        key=lambda pair: pair[0]["measure"] != pair[1]["measure"],
    )
    for part, (columns, names) in VIEWS.items():
        rows = [{**key, **row} for key, row in found if key["part"] == part]
        if rows:
            table = pd.DataFrame(rows).drop_duplicates(list(names))
            write_csv(table, out / f"{part}.csv", columns=columns)
