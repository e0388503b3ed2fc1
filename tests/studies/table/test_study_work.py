"""Rows of a table that a study makes: a benchmark's method, a measure's capture range, a run at a chosen smoothness."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from conditional_models import write_run
from omegaconf import OmegaConf
from small_run import arguments, tiny_acdc

from medreg.config.compose import compose
from medreg.errors import ConfigError
from medreg.reporting.statistics import t_interval
from medreg.studies.table.claims import answer
from medreg.studies.table.smoothness_work import AtSmoothness, SearchedSmoothness, TwoRegions
from medreg.studies.table.study_work import BenchmarkWork, CaptureRangeWork
from medreg.studies.table.table_file import ClaimSpec, TableFile
from medreg.studies.table.work import Request


def request(work, folder, *overrides, source=None):
    cfg = work.compose(overrides)
    settings = {} if source is None else work.settings(1, source)
    words = (*overrides, *(f"{key}={value}" for key, value in settings.items()))
    return Request("row", 1, "", words, work.folder(cfg, folder / "row_s1"), source=source)


def values(outcome, metric, structure=None):
    return [r["value"] for r in outcome.rows if r["metric"] == metric and structure in (None, r["structure"])]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    data = tiny_acdc(tmp_path_factory.mktemp("acdc"), subjects=5)
    found = OmegaConf.to_container(compose(arguments(data, "data.split.val=0.4")), resolve=True)
    model = {"_target_": "conditional_models.ShiftByWeight", "reach": 1.0, "takes_maps": True}
    task = {**found["task"], "regions": [[1, 2], [3]]}
    return write_run(
        tmp_path_factory.mktemp("run") / "run", {"data": found["data"], "task": task, "model": model}
    )


@pytest.fixture(autouse=True)
def allowed(monkeypatch):
    monkeypatch.setenv("MEDREG_ALLOW", "conditional_models")


def test_a_run_at_one_smoothness_has_every_case(run, tmp_path):
    low, high = (
        AtSmoothness().collect(request(AtSmoothness(), tmp_path, f"smoothness={value}", source=run))
        for value in (0.0, 1.0)
    )
    cases = {row["case"] for row in low.rows}
    assert len(values(low, "dice", "mean")) == len(cases) > 0
    assert values(low, "dice") != values(high, "dice")
    assert values(low, "folding_percent", "all") == [0.0] * len(cases)


def test_two_regions_are_relative_to_little_smoothness_everywhere(run, tmp_path, monkeypatch):
    def rows(run, cases, codes, *, low, high):
        assert (codes, low, high) == ([1, 2], 0.05, 1.0)
        names = {"0.05 everywhere": (0.4, 0.2), "A 0.05, B 1": (0.3, 0.1), "A 1, B 0.05": (9.0, 9.0)}
        return [{"map": name, "cases": 2, "energy_a": a, "energy_b": b} for name, (a, b) in names.items()]

    monkeypatch.setattr("medreg.studies.table.smoothness_work.two_region_rows", rows)
    found = TwoRegions().collect(request(TwoRegions(), tmp_path, "stiff=b", "codes=[1,2]", source=run))
    assert values(found, "stiff_energy") == pytest.approx([0.5])
    assert values(found, "soft_energy") == pytest.approx([0.75])
    assert found.rows[0]["case"].startswith("mean of ")


def test_a_search_is_worth_at_least_its_start(run, tmp_path):
    words = ("changes.iterations=3", "step=0.5", "split=val")
    scores = {}
    for choice in ("own", "found"):
        work = SearchedSmoothness()
        found = work.collect(request(work, tmp_path, *words, f"choice={choice}", source=run))
        (scores[choice],) = values(found, "dice")
    assert scores["found"] >= scores["own"] - 0.01
    assert (run / "smoothness" / "adam_label_dice_scalar_dataset.yaml").is_file()


def test_misspelt_option_and_missing_run_are_refused():
    with pytest.raises(ConfigError, match="smothness"):
        AtSmoothness().compose(["smothness=1"])
    with pytest.raises(ConfigError, match="of: ROW"):
        AtSmoothness().settings(1, None)


def test_one_method_of_a_benchmark(tmp_path, monkeypatch):
    from medreg.studies.benchmark import job

    def benchmark(cfg, *, console):
        rows = [(c, s, "dice", "1", v) for c, s, v in (("1", "LV", 0.8), ("1", "RV", 0.6), ("2", "LV", 0.9))]
        frame = pd.DataFrame(rows, columns=["case", "structure", "metric", "unit", "value"])
        frame.assign(method=next(iter(cfg.methods)), data="d", split="s").to_csv(
            f"{cfg.out}/results.csv", index=False
        )

    monkeypatch.setattr(job, "run_benchmark", benchmark)
    work = BenchmarkWork()
    found = work.collect(
        request(work, tmp_path, "logger=none", "benchmark=brain_phantom", "method=[identity]")
    )
    assert values(found, "dice", "mean") == pytest.approx([0.7, 0.9])
    assert work.settings(1, tmp_path) == {"runs": [str(tmp_path)]}


def test_capture_range_of_one_measure(tmp_path, monkeypatch):
    from medreg.studies.capture_range import job

    def capture(cfg, *, console):
        measure = next(iter(cfg.measures))
        rows = [
            {"measure": measure, "title": "NMI", "family": "rotation", "low": low, "high": low + 15, "case": case,
             "draw": draw, "start": 9.0, "final": 0.5 if low == 0 or draw else 7.0, "energy_start": 1.0,
             "energy_final": 0.0, "inside": True, "cpu_seconds": 0.1}
            for low in (0, 15) for case in ("a", "b") for draw in (0, 1)
        ]  # fmt: skip
        pd.DataFrame(rows).to_csv(f"{cfg.out}/starts.csv", index=False)

    monkeypatch.setattr(job, "run_capture", capture)
    work = CaptureRangeWork()
    found = work.collect(request(work, tmp_path, "logger=none", "measure=[nmi]"))
    assert values(found, "success_percent", "rotation 0-15") == [100.0, 100.0]
    assert values(found, "success_percent", "rotation 15-30") == [50.0, 50.0]
    assert values(found, "capture_range", "rotation") == [15.0]
    assert values(found, "median_residual", "rotation 15-30") == [3.75]


def test_claims_on_rows_kept_as_means_rest_on_seeds():
    table = TableFile.model_validate(
        {"title": "t", "rows": {"old": {}, "new": {}}, "columns": {"dice": None}, "scales": {"smoke": {}}}
    )
    old = pd.DataFrame([[0.80, 0.81, 0.82]], index=["mean of 10 cases"], columns=[1, 2, 3])

    def found(*gains):
        new = old + np.array(gains)
        return answer(
            ClaimSpec(claim="new.dice > old.dice"), {("old", "dice"): old, ("new", "dice"): new}, table
        )

    assert found(0.03, 0.032, 0.031).answer == "confirmed"
    assert found(0.03, 0.001, 0.010).answer == "undecided"
    assert found(-0.03, -0.032, -0.031).answer == "not confirmed"
    assert "means over cases" in found(0.03, 0.03, 0.03).why


def test_t_interval_by_hand():
    found = t_interval(np.array([1.0, 2.0, 3.0]))
    assert (found.mean, found.n) == (2.0, 3)
    assert found.high - found.mean == pytest.approx(4.30265 / 3**0.5, rel=1e-5)
