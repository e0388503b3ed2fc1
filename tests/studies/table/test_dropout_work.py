"""Rows of the MC dropout study, and figures that a table file names."""

from __future__ import annotations

import pandas as pd
import pytest

from medreg.errors import ConfigError
from medreg.studies.table.dropout_work import CURVES, DropoutWork
from medreg.studies.table.further_figures import further_figures
from medreg.studies.table.places import find
from medreg.studies.table.plan import make_plan
from medreg.studies.table.table_file import TableFile
from medreg.studies.table.work import Request

HERE = "medreg.studies.dropout"
EXACT = {"_target_": f"{HERE}.linear_methods.Exact"}
LINE = {"_target_": f"{HERE}.problems.Line", "test": 10}
WORK = DropoutWork(problem=LINE, truth=EXACT)
METHOD = f"method={{_target_: {HERE}.linear_methods.LinearDropout, probability: 0.3}}"


def test_a_row_is_one_method_on_all_data_sets(tmp_path):
    words = ("logger=none", METHOD, "method.probability=0.5", "data_sets=2", "scaling=true")
    cfg = WORK.compose(words)
    folder = WORK.folder(cfg, tmp_path / "row_s1")
    found = WORK.collect(Request("row", 1, "", (*words, "seed=1"), folder))
    values = {(r["case"], r["metric"]): r["value"] for r in found.rows if r["structure"] == "all"}
    assert values["worked example", "epistemic_variance"] == pytest.approx(1.867427, abs=1e-6)
    assert values["set 2", "target_scaling"] == pytest.approx(100.0)
    curves = pd.read_csv(folder / CURVES)
    assert set(curves["kind"]) == {"band", "density"}
    assert WORK.settings(3, None) == {"seed": 3}


def test_an_unknown_option_is_refused():
    with pytest.raises(ConfigError, match="DropoutWork: setz=3"):
        WORK.compose(["setz=3"])


@pytest.mark.parametrize("name", ["mean", "line", "bumps", "network"])
def test_every_row_of_the_study_composes_and_its_code_is_followed(name):
    plan = make_plan(find([f"dropout/{name}"])[0], "laptop")
    for row in plan.rows:
        assert plan.config(row).method._target_.startswith(HERE)
    request = plan.requests([next(iter(plan.rows))])[0]
    assert f"{HERE}.problems" in request.code


class Results:
    """As much of a table's results as a figure asks for."""

    def __init__(self, *figures):
        self.facts = {}
        self.table = TableFile(
            title="t", rows={"a": {}}, columns={"dice": None}, scales={"smoke": {}}, figures=figures
        )


def test_figures_of_a_table_are_drawn_and_others_refused():
    drawn = further_figures(
        Results(
            {"_target_": f"{HERE}.figures.LineFigure"},
            {"_target_": f"{HERE}.figures.CurvesFigure", "problem": LINE, "rows": ["a"]},
        )
    )
    assert [picture.name for picture in drawn] == ["dropout_scaling"], "no row was run, so no curves"
    with pytest.raises(ConfigError, match="Exact is no figure"):
        further_figures(Results(EXACT))


def test_curves_of_rows_become_bands_and_densities(tmp_path):
    words = (METHOD, "data_sets=1", "seed=1")
    WORK.collect(Request("a", 1, "", words, tmp_path))
    results = Results({"_target_": f"{HERE}.figures.CurvesFigure", "problem": LINE, "rows": ["a", "b"]})
    results.facts = {("a", 1): {"folder": str(tmp_path)}}
    (picture,) = further_figures(results)
    assert picture.png.startswith(b"\x89PNG")
    assert picture.alt == "Predictive distributions of a."
