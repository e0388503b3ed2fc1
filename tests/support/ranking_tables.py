"""Tables of made-up results for the tests of the ranking."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from medreg.studies.learn2reg.schema import COLUMNS

CASES = tuple(f"{395 + i:04d}_0000<--{396 + i:04d}_0000" for i in range(20))


def rows(method, metric, values, *, task="OASIS"):
    """Rows of one method and metric; (C,) gives case means only, (C, K) also items."""
    values = np.asarray(values, dtype=float)
    out = []
    for case, value in zip(CASES, values, strict=False):
        items = np.atleast_1d(value)
        out.append((method, task, case, metric, -1, pd.NA, float(np.mean(items))))
        if value.ndim:
            out += [(method, task, case, metric, k, k + 1, float(item)) for k, item in enumerate(items)]
    return out


def table(*groups):
    return pd.DataFrame([row for group in groups for row in group], columns=list(COLUMNS))


def metrics_file(folder, metrics, *, task="OASIS", cases=CASES, runtime=None):
    """Write metrics.json of schema 2.0, and runtime.csv, into a folder named like the method."""
    folder.mkdir(parents=True)
    first = next(iter(metrics.values()))
    content = {"name": task, "aggregates": {}, "cases": {}, "eval_version": "2.0"}
    for i, case in enumerate(cases[: len(first)]):
        content["cases"][case] = {
            name: {"mean": float(np.mean(values[i])), "detailed": np.asarray(values[i]).tolist()}
            for name, values in metrics.items()
        }
    (folder / "metrics.json").write_text(json.dumps(content))
    if runtime is not None:
        lines = [f"{case},{value}" for case, value in zip(cases, runtime, strict=False)]
        (folder / "runtime.csv").write_text("\n".join(["case,seconds", *lines]) + "\n")
    return folder
