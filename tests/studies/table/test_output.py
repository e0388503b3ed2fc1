"""What a table prints: numbers, tests, published values, claims, costs; and the rows kept with the code."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from medreg.reporting.statistics import corrected, welch
from medreg.studies.table.claims import answer, parse_claim
from medreg.studies.table.estimates import estimate
from medreg.studies.table.table_file import ClaimSpec, TableFile


def test_spread_over_cases_and_over_seeds_are_two_numbers():
    values = pd.DataFrame({1: [0.7, 0.8, 0.9], 2: [0.8, 0.9, 1.0]}, index=list("abc"))
    found = estimate(values)
    assert found.mean == pytest.approx(0.85)
    assert found.sd_cases == pytest.approx(0.1)
    assert found.sd_seeds == pytest.approx(np.std([0.8, 0.9], ddof=1))
    assert (found.cases, found.seeds) == (3, 2)


def test_holm_by_hand_and_welch_by_scipy():
    assert corrected([0.01, float("nan"), 0.04, 0.03]) == pytest.approx(
        [0.03, float("nan"), 0.06, 0.06], nan_ok=True
    )
    one, two = np.array([0.90, 0.91, 0.93]), np.array([0.88, 0.85, 0.89])
    assert welch(one, two) == pytest.approx(stats.ttest_ind(one, two, equal_var=False).pvalue)
    assert np.isnan(welch(one, two[:1]))


@pytest.mark.parametrize(
    ("claim", "gain", "by_seed", "expected"),
    [
        ("new.dice > old.dice", 0.03, (0.0, 0.0), "confirmed"),
        ("new.dice < old.dice", 0.03, (0.0, 0.0), "not confirmed"),
        ("new.dice > old.dice", 0.0005, (0.0, 0.0), "undecided"),
        ("new.dice > old.dice", 0.03, (0.05, -0.05), "undecided"),  # one seed disagrees
        ("new.dice > old.dice - 0.005", 0.0005, (0.0, 0.0), "confirmed"),
        ("new.dice > old.dice + 0.05", 0.03, (0.0, 0.0), "not confirmed"),
        ("new.dice > 0.8", 0.03, (0.0, 0.0), "confirmed"),
        ("new.dice < 8e-1", 0.03, (0.0, 0.0), "not confirmed"),
    ],
)
def test_answer_of_a_claim(claim, gain, by_seed, expected):
    table = TableFile.model_validate(
        {"title": "t", "rows": {"old": {}, "new": {}}, "columns": {"dice": None}, "scales": {"smoke": {}}}
    )
    generator = np.random.default_rng(0)
    old = pd.DataFrame({seed: 0.82 + generator.normal(0, 0.01, 20) for seed in (1, 2)})
    new = old + gain + generator.normal(0, 0.01, (20, 1)) - 0.0 + np.array(by_seed)
    new = new - (new - old).mean().mean() + gain
    found = answer(ClaimSpec(claim=claim), {("old", "dice"): old, ("new", "dice"): new}, table)
    assert found.answer == expected
    margin = parse_claim(claim).margin
    base = 0.0 if parse_claim(claim).right else old.mean().mean()
    assert found.difference.mean == pytest.approx(gain + base - margin, abs=1e-9)


def test_few_cases_decide_nothing():
    table = TableFile.model_validate(
        {"title": "t", "rows": {"a": {}}, "columns": {"dice": None}, "scales": {"smoke": {}}}
    )
    found = answer(ClaimSpec(claim="a.dice > 0.5"), {("a", "dice"): pd.DataFrame({1: [0.9, 0.91]})}, table)
    assert found.answer == "undecided"
    assert "too few" in found.why


def test_every_format_is_written_and_the_best_is_bold(experiments):
    experiments.publish("P,D,M,dice,0.84,1,page 3,yes,two,new", "P,D,M,parameters,99,1,page 4,no,two,old")
    assert experiments.run() == 0
    page = experiments.out()
    assert "| new | **0.85" in page
    assert "0.840, confirmed (ours +0.0" in page
    assert "99, not confirmed (ours +1)" in page
    assert "| new.dice > old.dice | **confirmed**" in page
    assert "p < 0.001" in page
    assert "3 runs" in page
    assert "abcdef12" in page
    latex = experiments.out("table.tex")
    assert r"\toprule" in latex
    assert r"\textbf{0.85" in latex
    tidy = pd.read_csv(experiments.root / "outputs/tables/paper/two/smoke/table.csv").set_index(
        ["row", "column"]
    )
    assert tidy.loc[("new", "dice"), "cases"] == 12
    assert tidy.loc[("new", "dice"), "difference"] == pytest.approx(0.05)
    assert tidy.loc[("new", "dice"), "less_published"] == pytest.approx(
        tidy.loc[("new", "dice"), "mean"] - 0.84
    )
    html = experiments.out("table.html")
    assert "data:image/png;base64" in html
    assert "<script" not in html
    assert (experiments.root / "outputs/tables/paper/two/smoke/figure.png").stat().st_size > 5000


def test_kept_rows_give_the_same_table_without_running(experiments, capsys):
    assert experiments.run("--commit") == 0
    kept = experiments.file.parents[1] / "results" / "two.smoke.csv"
    assert kept.read_text().startswith("row,seed,case,structure,metric,value,unit,commit")
    before = pd.read_csv(experiments.root / "outputs/tables/paper/two/smoke/table.csv")
    (experiments.root / "outputs/tables/paper/two/smoke/units.jsonl").unlink()
    assert experiments.run("--dry-run") == 0
    assert "3 s by the kept rows" in capsys.readouterr().out
    assert experiments.run("--committed") == 0
    after = pd.read_csv(experiments.root / "outputs/tables/paper/two/smoke/table.csv")
    assert np.allclose(before["mean"], after["mean"], atol=1e-6)
    assert "Rows measured at commit abcdef12" in experiments.out()
    assert len(experiments.done()) == 4


def test_check_fails_when_an_answer_is_not_the_expected_one(experiments, capsys):
    assert experiments.run("--check") == 0
    experiments.change("expect: {smoke: not confirmed}", "expect: {smoke: confirmed, laptop: confirmed}")
    assert experiments.run() == 0
    assert experiments.run("--check") == 1
    assert "not confirmed, expected confirmed" in capsys.readouterr().out
