"""Pooled calibration of run folders: known answers, recalibration beside, files and refusals."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from medreg.callbacks.tabular import replace_rows
from medreg.cli.main import main
from medreg.errors import ConfigError, DataError
from medreg.metrics.uncertainty.case import Predicted, displacement_calibration
from medreg.metrics.uncertainty.labels import label_calibration
from medreg.metrics.uncertainty.ranks import rank_of
from medreg.metrics.uncertainty.table import rows_for
from medreg.studies.uncertainty.reading import read_methods
from medreg.studies.uncertainty.recalibrated import FACTOR, LEVELS, TEMPERATURE, factor_of
from medreg.studies.uncertainty.report import Comparison, compare_calibration, sentences, write_comparison
from medreg.tasks.results import CaseResult

SAMPLES, SHAPE = 19, (14, 12)


def measured(case: int, factor: float):
    """One case of a law whose stated SD is `factor` times the true one."""
    generator = torch.Generator().manual_seed(case)

    def normal(*lead: int) -> torch.Tensor:
        return torch.randn(*lead, 1, 2, *SHAPE, generator=generator, dtype=torch.float64)

    sigma = 0.3 + torch.rand(1, 2, *SHAPE, generator=generator, dtype=torch.float64)
    centre, noise, draws = normal(1)[0], normal(1)[0], normal(SAMPLES)
    truth, draws = centre + sigma * noise, centre + factor * sigma * draws
    predicted = Predicted(centre, factor * sigma, ranks=rank_of(draws, truth), samples=SAMPLES)
    found = displacement_calibration(predicted, truth, spacing_mm=torch.ones(2))
    stated = torch.rand(1, 1, *SHAPE, generator=generator, dtype=torch.float64)
    label = (torch.rand(1, 1, *SHAPE, generator=generator, dtype=torch.float64) < stated).long()
    sure = stated**3 / (stated**3 + (1 - stated) ** 3)  # temperature ⅓ of what is true
    return found + label_calibration(sure, label, {"heart": 1}, spacing_mm=torch.ones(2), band_mm=9.0)


def run_folder(folder: Path, *, factor: float = 1.0, cases=range(12), method="bayes", data="pairs") -> Path:
    folder.mkdir(parents=True)
    results, counts = [], []
    for case in cases:
        found = measured(case, factor)
        result = CaseResult(
            f"case{case}", {method: found.rows}, tables={"calibration": rows_for(method, found.counts)}
        )
        columns = {"run": folder.name, "model": "bayes", "data": data, "split": "test", "case": result.case}
        for row in result.rows[method]:
            told = {"structure": row.structure, "metric": row.metric, "value": row.value, "unit": row.unit}
            results.append({**columns, "method": method, **told})
        counts += [{"case": result.case, **row} for row in result.tables["calibration"]]
    replace_rows(folder / "results.csv", list(results[0]), results)
    replace_rows(folder / "calibration.csv", list(counts[0]), counts)
    return folder


def value(
    found: Comparison,
    metric: str,
    method: str = "bayes",
    form: str = "as stated",
    structure: str | None = None,
):
    (figure,) = [
        f
        for f in found.figures
        if (f.metric, f.method, f.form) == (metric, method, form) and structure in (None, f.structure)
    ]
    return figure


def test_a_calibrated_method_and_a_method_that_is_too_sure(tmp_path):
    good, sure = run_folder(tmp_path / "good"), run_folder(tmp_path / "sure", factor=0.5)
    found = compare_calibration([f"good={good}", f"sure={sure}"])
    right = value(found, "calibration_error", "good")
    assert right.value < 0.02
    assert right.n == 12
    assert 0 < right.floor < 0.02
    assert 0 < right.error < 0.02
    wrong = value(found, "calibration_error", "sure")
    assert wrong.value > 0.15
    assert value(found, "coverage_bias", "sure").value == pytest.approx(-wrong.value)
    assert value(found, "z_rms", "sure").value == pytest.approx(2, abs=0.1)
    assert value(found, "calibration_error_ranks", "good").value < 0.02
    assert value(found, "rank_deviation", "good").value < 0.05 < value(found, "rank_deviation", "sure").value
    by_name = {d.metric: d for d in found.differences}
    assert by_name["calibration_error"].low > 0.1
    assert by_name["calibration_error"].value == pytest.approx(wrong.value - right.value)
    assert any("sure is worse calibrated" in sentence for sentence in sentences(found))


def test_pooled_counts_are_those_of_all_cases_at_once(tmp_path):
    whole = compare_calibration([str(run_folder(tmp_path / "whole"))])
    table = pd.read_csv(tmp_path / "whole" / "calibration.csv")
    rows = table[table["kind"] == "coverage"].groupby("position")[["count", "observed"]].sum()
    share = rows["observed"] / rows["count"]
    assert value(whole, "calibration_error").value == pytest.approx(np.abs(share - share.index).mean())
    curve = whole.curves[whole.curves["kind"] == "coverage"]
    assert curve["value"].to_numpy() == pytest.approx(share.to_numpy())
    results = pd.read_csv(tmp_path / "whole" / "results.csv").query("metric == 'crps_mm'")["value"]
    assert value(whole, "crps_mm").value == pytest.approx(results.mean())
    assert value(whole, "crps_mm").error == pytest.approx(results.std(ddof=1) / math.sqrt(12))


def test_recalibration_stands_beside_the_raw_figures(tmp_path):
    test = run_folder(tmp_path / "test", factor=0.5)
    validation = run_folder(tmp_path / "validation", factor=0.5, cases=range(100, 112))
    found = compare_calibration([str(test)], validation=[str(validation)])
    raw = value(found, "calibration_error")
    assert raw.value > 0.15  # as without validation
    assert raw == value(compare_calibration([str(test)]), "calibration_error")
    assert value(found, "calibration_error", form=FACTOR).value < 0.02
    assert value(found, "z_rms", form=FACTOR).value == pytest.approx(1, abs=0.05)
    assert value(found, "calibration_error", form=LEVELS).value < 0.02
    assert value(found, "calibration_error_ranks", form=LEVELS).value < 0.03
    assert factor_of(read_methods([str(validation)])[0]) == pytest.approx(2, abs=0.08)
    labels = {
        form: value(found, "label_ece", form=form, structure="heart").value
        for form in ("as stated", TEMPERATURE)
    }
    assert labels[TEMPERATURE] < 0.05 < labels["as stated"]
    assert any("SD × 2.0" in note or "SD × 1.9" in note for note in found.notes)


def test_an_sd_of_zero_has_no_factor_and_costs_nothing_else(tmp_path):
    folders = [
        run_folder(tmp_path / "test", cases=range(3)),
        run_folder(tmp_path / "val", cases=range(50, 53)),
    ]
    for folder in folders:
        table = pd.read_csv(folder / "calibration.csv")
        table.loc[table["kind"] == "squares", "observed"] = math.inf
        table.to_csv(folder / "calibration.csv", index=False)
    found = compare_calibration([str(folders[0])], validation=[str(folders[1])])
    assert FACTOR not in {figure.form for figure in found.figures}
    assert LEVELS in {figure.form for figure in found.figures}
    assert any("no factor mends" in note for note in found.notes)
    assert value(found, "z_rms").value == math.inf
    assert write_comparison(found, tmp_path / "out").is_file()


def test_files_and_command(tmp_path, capsys):
    good, sure = (
        run_folder(tmp_path / "good", cases=range(4)),
        run_folder(tmp_path / "sure", factor=0.5, cases=range(4)),
    )
    out = tmp_path / "out"
    assert main(["calibration", f"A={good}", f"B={sure}", "-o", str(out)]) == 0
    text = (out / "report.md").read_text()
    assert "calibration error" in text
    assert "B is worse calibrated" in text
    for name in ("coverage", "ranks", "sparsification", "reliability"):
        assert (out / "figures" / f"{name}.png").stat().st_size > 3000
        assert f"figures/{name}.png" in text
    figures = pd.read_csv(out / "figures.csv")
    assert set(figures["method"]) == {"A", "B"}
    assert {"curves.csv", "differences.csv"} <= {file.name for file in out.iterdir()}
    assert "A" in capsys.readouterr().out


def test_one_case_has_no_standard_error(tmp_path):
    found = compare_calibration([str(run_folder(tmp_path / "one", cases=[0]))])
    assert math.isnan(value(found, "calibration_error").error)
    assert write_comparison(found, tmp_path / "out").is_file()


def test_methods_of_one_name_carry_their_run(tmp_path):
    folders = [str(run_folder(tmp_path / name, cases=range(2))) for name in ("first", "second")]
    assert [m.name for m in read_methods(folders)] == ["bayes [first]", "bayes [second]"]
    with pytest.raises(ConfigError, match="FIRST=FOLDER"):
        read_methods([f"A={folders[0]}", f"A={run_folder(tmp_path / 'other' / 'first', cases=range(2))}"])


def test_what_cannot_be_compared_is_refused_in_a_sentence(tmp_path, capsys):
    good = run_folder(tmp_path / "good", cases=range(3))
    assert main(["calibration", str(tmp_path / "nowhere")]) == 1
    assert "is no folder" in capsys.readouterr().err
    bare = run_folder(tmp_path / "bare", cases=range(3))
    (bare / "calibration.csv").unlink()
    with pytest.raises(DataError, match="it was evaluated by an older"):
        read_methods([str(bare)])
    fewer = run_folder(tmp_path / "fewer", cases=range(2))
    with pytest.raises(DataError, match="case2"):
        read_methods([str(good), str(fewer)])
    assert [len(m.cases) for m in read_methods([str(good), str(fewer)], common=True)] == [2, 2]
    with pytest.raises(DataError, match="No case is common"):
        read_methods([str(good), str(run_folder(tmp_path / "others", cases=range(7, 9)))], common=True)
    with pytest.raises(DataError, match="evaluated on different"):
        read_methods([str(good), str(run_folder(tmp_path / "elsewhere", cases=range(3), data="acdc"))])
    with pytest.raises(DataError, match="judge the recalibration"):
        compare_calibration([str(good)], validation=[str(good)])
    with pytest.raises(DataError, match="not bayes"):
        compare_calibration([str(good)], validation=[f"vi={good}"])


def test_a_damaged_table_is_named_with_its_line(tmp_path):
    good = run_folder(tmp_path / "good", cases=range(2))
    text = (good / "calibration.csv").read_text().splitlines()
    text[3] = text[3].rpartition(",")[0] + ",many"
    (good / "calibration.csv").write_text("\n".join(text) + "\n")
    with pytest.raises(DataError, match="line 4"):
        read_methods([str(good)])
