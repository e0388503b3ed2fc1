"""The posterior in a report: maps and contours of slices, stacks and volumes, traces, coverage."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from medreg.reporting.posterior_pictures import cases, draw
from medreg.reporting.posterior_plots import coverage, draw_traces, traces
from medreg.reporting.results import read_run


def posterior_arrays(kind):
    """A case whose SD is 1 mm in one half and 3 mm in the other, and a label of probability falling with distance."""
    shape = {"slice": (24, 20), "stack": (5, 24, 20), "volume": (16, 18, 14)}[kind]
    ndim, stack = (3 if kind == "volume" else 2), kind == "stack"
    rng = np.random.default_rng(0)
    sd = np.ones(shape)
    sd[..., shape[-1] // 2 :] = 3.0
    middle = [size / 2 for size in shape]
    far = np.sqrt(sum((g - c) ** 2 for g, c in zip(np.indices(shape), middle, strict=True)))
    probability = np.clip(1.2 - far / 6, 0, 1)[:, None] if stack else np.clip(1.2 - far / 6, 0, 1)[None]
    mean = np.ones((shape[0], ndim, *shape[1:]) if stack else (ndim, *shape))
    return {
        "fixed": rng.random(shape),
        "displacement_mean": mean,
        "displacement_sd_mm": sd,
        "label_probability": probability,
        "label_probability_codes": np.array([3]),
        "spacing_mm": np.array([1.0, 1.5, 3.0])[:ndim],
        "affine": np.diag([-1.0, -1.5, 3.0, 1.0]),
    }


@pytest.mark.parametrize(("kind", "views"), [("slice", 1), ("stack", 4), ("volume", 3)])
def test_maps_are_in_millimetres_over_the_anatomy(kind, views):
    drawn = draw(posterior_arrays(kind), "case", {3: "LV"})
    panels = [axis for axis in drawn.axes if axis.get_images()]
    assert len(panels) == 3 * views
    spread = panels[views].get_images()[1]
    assert spread.get_clim() == (0.0, 3.0)
    assert {1.0, 3.0} <= set(np.unique(spread.get_array())) or kind == "volume"
    assert [axis.get_ylabel() for axis in drawn.axes].count("mm") == 2  # two colour bars
    mean = panels[0].get_images()[1].get_array()
    length = np.sqrt(1 + 1.5**2 + (9 if kind == "volume" else 0))
    np.testing.assert_allclose(mean, length)
    assert "LV" in [text.get_text() for text in drawn.legends[0].get_texts()]
    contours = panels[2 * views + views // 2].collections
    assert len(contours) == 3


def test_without_labels_there_are_two_rows():
    arrays = {k: v for k, v in posterior_arrays("slice").items() if "probability" not in k}
    assert len([axis for axis in draw(arrays, "case", {}).axes if axis.get_images()]) == 2


def test_shapes_that_do_not_belong_together_are_told(make_run, frame, rows):
    arrays = posterior_arrays("slice")
    arrays["displacement_sd_mm"] = np.ones((3, 3))
    run = read_run(make_run(results=frame(rows([0.5])), cases={"c0": arrays}))
    (section,) = cases(run)
    assert "left out" in section.notes[0]
    assert "(3, 3)" in section.notes[0]


def test_sections_of_a_run(make_run, frame, rows):
    folder = make_run(results=frame(rows([0.5])), cases={"c0": posterior_arrays("stack")})
    trace = [
        {"case": "c0", "chain": c, "sample": k, "quantity": q, "unit": "mm", "value": np.sin(k + c)}
        for c in range(2)
        for k in range(10)
        for q in ("length", "volume")
    ]
    pd.DataFrame(trace).to_csv(folder / "traces.csv", index=False)
    table = [
        {"method": "m", "case": c, "kind": kind, "structure": "all", "position": p, "count": 100.0}
        | {"observed": 80 * p, "expected": 100 * p}
        for c in ("a", "b")
        for kind in ("coverage", "reliability_top", "size")
        for p in (0.5, 0.9)
    ]
    pd.DataFrame(table).to_csv(folder / "calibration.csv", index=False)
    run = read_run(folder)
    found = [*cases(run), *traces(run), *coverage(run)]
    assert [section.title for section in found] == ["Posterior", "Chains", "Calibration"]
    assert [p.name for section in found for p in section.pictures] == [
        "posterior_c0",
        "traces_c0",
        "coverage",
    ]
    assert "displacement, Gaussian: 90 % stated, 72 % observed" in found[2].pictures[0].alt
    assert "over 2 cases" in found[2].pictures[0].alt
    drawn = draw_traces(pd.DataFrame(trace))
    assert [len(axis.lines) for axis in drawn.axes if axis.get_visible()] == [2, 2]


def test_nothing_where_nothing_was_sampled(make_run, frame, rows):
    run = read_run(make_run(results=frame(rows([0.5]))))
    assert [*traces(run), *coverage(run), *cases(run)] == []
