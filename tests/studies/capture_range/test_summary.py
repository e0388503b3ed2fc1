"""Capture range, far-field fraction, basins: known answers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from medreg.studies.capture_range.report import markdown
from medreg.studies.capture_range.summary import (
    Criterion,
    basin,
    bins_table,
    capture_ranges,
    differences,
    landscape_table,
)

CRITERION = Criterion(final=2.0, share=0.9, resamples=500, level=0.95, seed=0)


def _starts(success: dict[str, list[float]]) -> pd.DataFrame:
    """Ten people, two draws; the first people of each bin succeed."""
    rows = []
    for measure, shares in success.items():
        for number, share in enumerate(shares):
            for case in range(10):
                final = 0.5 if case < round(10 * share) else 7.0
                rows += [
                    {
                        "measure": measure, "title": measure.upper(), "family": "joint", "low": 4.0 * number,
                        "high": 4.0 * (number + 1), "case": f"c{case}", "draw": draw, "start": 4.0 * number,
                        "final": final, "energy_start": 1.0, "energy_final": 0.5, "inside": 1, "cpu_seconds": 0.1,
                    }
                    for draw in (0, 1)
                ]  # fmt: skip
    return pd.DataFrame(rows)


def test_the_capture_range_ends_at_the_first_bin_that_fails():
    starts = _starts(
        {"near": [1.0, 0.9, 0.4, 1.0], "far": [1.0, 1.0, 1.0, 1.0], "none": [0.8, 1.0, 1.0, 1.0]}
    )
    found = capture_ranges(bins_table(starts, CRITERION), CRITERION).set_index("measure")["capture_range"]
    assert found.to_dict() == {"near": 8.0, "far": 16.0, "none": 0.0}


def test_intervals_are_over_people():
    row = bins_table(_starts({"a": [0.5]}), CRITERION).iloc[0]
    assert row["success"] == 0.5
    # Ten independent people, not twenty starts: the standard error is 0.16.
    assert row["success_low"] == pytest.approx(0.5 - 1.96 * 0.158, abs=0.11)
    assert row["starts"] == 20


def test_differences_are_paired():
    found = differences(_starts({"nmi": [1.0, 0.5], "mad": [1.0, 0.9]}), "nmi", CRITERION)
    assert found["difference"].tolist() == pytest.approx([0.0, 0.4])
    assert found["low_end"].tolist()[0] == 0.0
    assert found["low_end"].tolist()[1] > 0.0


def test_the_basin_ends_where_the_curve_falls_again():
    values = np.array([-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0])
    assert basin(values, np.array([1.0, 3.0, 2.0, 0.0, 1.0, 2.0, 1.5])) == (-2.0, 2.0)


def test_bias_and_basin_of_the_mean_curve():
    rows = [
        {"measure": "m", "title": "M", "family": "rotation", "value": v, "case": c, "energy": (v - 10) ** 2}
        for v in (-20.0, -10.0, 0.0, 10.0, 20.0)
        for c in ("a", "b")
    ]
    row = landscape_table(pd.DataFrame(rows)).iloc[0]
    assert (row["bias"], row["basin_low"], row["basin_high"], row["cases"]) == (10.0, -20.0, 20.0, 2)


def test_the_interval_of_equal_values_is_a_point():
    found = CRITERION.interval(np.ones(5))
    assert (found.mean, found.low, found.high) == (1.0, 1.0, 1.0)
    assert np.isnan(CRITERION.interval(np.ones(1)).low)


def test_what_was_not_run_is_a_dash_in_the_page():
    table = pd.DataFrame({"title": ["NMI", "MAD"], "joint": [16.0, float("nan")], "starts": [80, 20]})
    assert markdown(table).splitlines()[2:] == ["| NMI | 16 | 80 |", "| MAD | – | 20 |"]
