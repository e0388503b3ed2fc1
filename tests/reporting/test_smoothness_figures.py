"""Figures over λ show the numbers that they are given."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from medreg.studies.smoothness.curves_figure import smoothness_curve_figure
from medreg.studies.smoothness.maps_figure import FieldPlane, field_sheet


@pytest.fixture
def table():
    weights = [0.2, 0.0, 1.0]  # not in order
    ours = {"kind": "one conditional model", "smoothness": weights, "dice": [0.8, 0.7, 0.6]}
    theirs = {"kind": "trained for one λ", "smoothness": [0.2], "dice": [0.82]}
    parts = [pd.DataFrame(one) for one in (ours, theirs)]
    frame = pd.concat(parts, ignore_index=True)
    frame["gradient_energy"] = [0.1, 0.3, 0.01, 0.12]
    frame["sd_log_jacobian"] = [0.2, 0.4, 0.1, 0.25]
    return frame


def test_the_conditional_model_is_a_line_through_its_weights_in_order(table):
    figure = smoothness_curve_figure(table, title="run")
    first, second, third = figure.axes
    line, marks = first.lines
    assert line.get_xdata().tolist() == [0.3, 0.1, 0.01]
    assert line.get_ydata().tolist() == [0.7, 0.8, 0.6]
    assert (marks.get_xdata().tolist(), marks.get_linestyle()) == ([0.12], "None")
    assert {text.get_text() for text in first.texts} == {"0", "0.2", "1"}
    assert second.lines[0].get_xdata().tolist() == [0.0, 0.2, 1.0]
    assert third.lines[0].get_ydata().tolist() == [0.4, 0.2, 0.1]


def plane(name, weight, *, fold=False):
    x = np.arange(20.0)[:, None] * np.ones((1, 16))
    jacobian = np.ones((20, 16))
    jacobian[:10] = -1.0 if fold else 1.0
    field = np.stack([(1 - weight) * np.sin(x / 3), np.zeros_like(x)])
    return FieldPlane(name, x / 20, field, jacobian, field[0] ** 2, np.full((20, 16), weight))


def test_answers_are_columns_on_one_scale():
    planes = [plane("λ = 0", 0.0, fold=True), plane("λ = 0.9", 0.9)]
    figure = field_sheet(planes, rows=("smoothness", "grid", "magnitude", "jacobian", "energy"), title="pair")
    panels = np.array(figure.axes[:10]).reshape(5, 2)
    assert [axis.get_title() for axis in panels[0]] == ["λ = 0", "λ = 0.9"]
    for row in panels:
        assert row[0].images[0].get_clim() == row[1].images[0].get_clim()
    shown = panels[2, 1].images[0].get_array()
    np.testing.assert_allclose(shown, np.hypot(*planes[1].displacement).T)
    assert panels[3, 0].texts[0].get_text() == "folds 50.00 %"
    assert panels[3, 1].texts[0].get_text() == "folds 0.00 %"
