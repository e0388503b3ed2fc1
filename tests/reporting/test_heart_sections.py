"""Sections of a run that completes and generates hearts, on made folders: titles, figures, numbers, missing parts."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest
from made_hearts import (
    SPACING,
    made_heart,
    made_measures,
    made_people,
    pooled_effects,
    population_frame,
    write_hearts,
)
from matplotlib.figure import Figure
from scipy.stats import wasserstein_distance

from medreg.errors import DataError
from medreg.reporting import heart_sections as sections
from medreg.reporting.compare import compare_runs
from medreg.reporting.heart_curves import curve_panels, draw_curves, read_curves, volume_curves, volumes_ml
from medreg.reporting.heart_distributions import boxes_by_age, violins
from medreg.reporting.heart_effects import draw_effects, effects_of, percent_table, steps_of
from medreg.reporting.heart_facts import error_table, fact_table
from medreg.reporting.heart_style import SOURCE_COLOURS
from medreg.reporting.heart_tables import age_groups, made_source, pooled, read_measures, single
from medreg.reporting.html import write_report
from medreg.reporting.results import RESULT_COLUMNS, RunFolder, read_run
from medreg.reporting.tables import headline

ALL = ("results", "facts", "cases", "curves", "distributions", "effects", "extremes")


def opened(path, rows=(), config=""):
    """The folder as a report reads it."""
    table = population_frame(rows) if rows else pd.DataFrame(columns=list(RESULT_COLUMNS))
    files = tuple(sorted((path / "cases").glob("*.npz")))
    return RunFolder(path, {}, table, pd.DataFrame(), config, files)


def text(section):
    return re.sub(r"<[^>]+>", " ", "".join(section.body))


def case_rows(method="cheart", cases=("a", "b"), **values):
    """Rows of results.csv of single hearts: metric=(structure, values, unit)."""
    rows = []
    for metric, (structure, numbers, unit) in values.items():
        for case, value in zip(cases, numbers, strict=True):
            told = ("run", "cheart", "hearts", "test", case, method, structure, metric, value, unit)
            rows.append(dict(zip(RESULT_COLUMNS, told, strict=True)))
    return rows


@pytest.fixture(name="folder", scope="module")
def folder_fixture(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hearts")
    write_hearts(folder, count=60, samples=3)
    return folder


@pytest.mark.slow
def test_every_section_stands_on_the_page(folder):
    names = [f"medreg.reporting.heart_sections.{name}" for name in ALL]
    (folder / "run.json").write_text(json.dumps({"model": "cheart", "data": "hearts", "sections": names}))
    population_frame(pooled_effects()).to_csv(folder / "results.csv", index=False)
    page = write_report(folder).read_text()
    assert re.findall("<h2>([^<]*)", page) == [
        "Results", "Hearts", "Volumes over the cycle", "Real and generated hearts", "Effects of the conditions",
        "Worst, median and best completion", "Provenance",
    ]  # fmt: skip
    assert "could not be drawn" not in page
    found = {file.stem for file in (folder / "figures").glob("*.png")}
    assert found >= {"hearts_heart_000", "beats_heart_001", "heart_curves", "heart_effects", "extreme_worst"}
    (folder / "results.csv").unlink()


def test_an_empty_run_has_no_section_but_says_so(tmp_path):
    run = opened(tmp_path)
    (only,) = sections.results(run)
    assert "No case has been evaluated" in text(only)
    assert [list(getattr(sections, name)(run)) for name in ALL[1:]] == [[]] * 6


def test_a_case_that_is_damaged_leaves_a_note(tmp_path, monkeypatch):
    write_hearts(tmp_path / "run", count=10)
    (tmp_path / "run" / "cases" / "heart_000.npz").write_bytes(b"nothing")
    wrong = {
        "label": made_heart(4),
        "completed": made_heart(4, size=(20, 20, 10)),
        "spacing_mm": np.array(SPACING),
    }
    np.savez(tmp_path / "run" / "cases" / "other.npz", **wrong)
    monkeypatch.setattr(sections, "compared_beats", lambda *_, **__: Figure((1, 1)))
    (section,) = sections.cases(opened(tmp_path / "run"))
    assert [picture.name for picture in section.pictures] == ["hearts_heart_001", "beats_heart_001"]
    assert "heart_000.npz was left out" in section.notes[0]
    assert "on one grid" in section.notes[1]


def test_a_model_that_cannot_complete_is_shown_without(tmp_path):
    (tmp_path / "cases").mkdir()
    (tmp_path / "extremes").mkdir()
    arrays = {"label": made_heart(2), "generated": made_heart(2), "spacing_mm": np.array(SPACING)}
    np.savez(tmp_path / "cases" / "a.npz", **arrays)
    told = {"case": np.array("a"), "score": np.array(0.5), "metric": np.array("dice")}
    np.savez(tmp_path / "extremes" / "worst.npz", **arrays, **told)
    (section,) = sections.cases(opened(tmp_path))
    assert [picture.name for picture in section.pictures] == ["hearts_a"]  # ED and ES alone: no beat
    assert section.pictures[0].caption == "a: real, generated."
    assert list(sections.extremes(opened(tmp_path))) == []
    assert list(sections.curves(opened(tmp_path))) == []


def test_worst_completion_comes_first(folder):
    (section,) = sections.extremes(opened(folder))
    assert [picture.name for picture in section.pictures] == ["extreme_worst", "extreme_best"]
    assert section.pictures[0].caption == "worst: heart_000, Dice 0.700."


def test_curves_are_medians_with_a_band_of_nine_tenths(folder):
    found = read_curves(opened(folder))
    assert list(found) == ["real", "completed", "generated"]
    assert found["generated"]["LV"].shape == (180, 10)
    (axis, *_) = curve_panels(found).axes
    lines = {line.get_label(): line for line in axis.lines}
    assert lines["generated"].get_ydata() == pytest.approx(np.median(found["generated"]["LV"], axis=0))
    assert lines["generated"].get_color() == SOURCE_COLOURS["generated"]
    assert lines["real"].get_color() == SOURCE_COLOURS["real"]
    edges = [line.get_ydata() for line in axis.lines if line.get_color() == SOURCE_COLOURS["real"]][:2]
    assert edges == [pytest.approx(np.percentile(found["real"]["LV"], q, axis=0)) for q in (5, 95)]
    (section,) = sections.curves(opened(folder))
    assert "60 real, 60 completed from ED, 180 generated" in section.pictures[0].caption


def test_curves_come_from_the_cases_where_no_table_has_them(tmp_path):
    write_hearts(tmp_path, count=10)
    (tmp_path / "curves.csv").unlink()
    (section,) = sections.curves(opened(tmp_path))
    assert "2 real" in section.pictures[0].caption


def test_volumes_are_voxels_in_millilitres():
    heart = made_heart()
    assert volumes_ml(heart, SPACING)[0, 0] == pytest.approx((heart[0] == 1).sum() * 0.2)
    axis = volume_curves(np.arange(10), {"LV": volumes_ml(heart, SPACING)[0]}).axes[0]
    with pytest.raises(ValueError, match="10 times, not 9"):
        draw_curves(axis, np.arange(9), {"LV": volumes_ml(heart, SPACING)[0]})


def test_a_table_of_curves_without_source_is_refused(tmp_path):
    (tmp_path / "curves.csv").write_text("case,frame_0\na,1\n")
    with pytest.raises(DataError, match="source, structure"):
        read_curves(opened(tmp_path))


def test_the_printed_distance_is_that_of_scipy(folder):
    hearts = read_measures(opened(folder))
    figure = violins(hearts, ["lvedv_ml"], made="generated")
    real = hearts[hearts["source"] == "real"]["lvedv_ml"]
    for sex, tick in enumerate(figure.axes[0].get_xticklabels()):
        own = hearts[hearts["sex"] == sex].groupby("source")["lvedv_ml"].apply(np.array)
        w1 = wasserstein_distance(own["real"], own["generated"])
        assert tick.get_text() == f"{['women', 'men'][sex]}\nW1 {w1:.1f} = {w1 / real.std():.2f} SD"


def test_one_sex_alone_and_no_conditions_at_all(folder):
    hearts = read_measures(opened(folder))
    women = violins(hearts[hearts["sex"] == 0], ["lvm_g"], made="generated")
    assert [tick.get_text().split("\n")[0] for tick in women.axes[0].get_xticklabels()] == ["women"]
    bare = hearts.drop(columns=["sex", "age_years", "height_cm", "weight_kg", "sbp_mmhg"])
    everyone = violins(bare, ["lvm_g"], made="generated")
    assert [tick.get_text().split("\n")[0] for tick in everyone.axes[0].get_xticklabels()] == ["all"]
    assert boxes_by_age(bare, ["lvm_g"], made="generated") is None
    assert violins(hearts[:3], ["lvm_g"], made="generated") is None


def test_boxes_stand_in_the_age_group_of_their_hearts():
    people = made_people(400)
    table = [
        pd.DataFrame(
            {"case": np.arange(400).astype(str), "source": name, **people, **made_measures(people, seed)}
        )
        for seed, name in enumerate(("real", "generated"))
    ]
    hearts = pd.concat(table, ignore_index=True)
    figure = boxes_by_age(hearts, ["lvedv_ml"], made="generated")
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["women", "men"]
    own = hearts[(hearts["sex"] == 1) & (age_groups(hearts["age_years"].to_numpy()) == 2)]
    real, made = (own[own["source"] == name]["lvedv_ml"] for name in ("real", "generated"))
    sd = hearts[hearts["source"] == "real"]["lvedv_ml"].std()
    assert figure.axes[1].texts[2].get_text() == f"{wasserstein_distance(real, made) / sd:.2f}"


def test_age_groups_are_those_of_the_ageing_heart():
    assert age_groups(np.array([45.0, 50.0, 51.0, 55.0, 56.0, 75.0, 76.0, 90.0, np.nan])).tolist() == [
        0, 0, 1, 1, 2, 5, 6, 6, -1,
    ]  # fmt: skip


def test_the_model_makes_new_hearts_or_ages_them(folder):
    hearts = read_measures(opened(folder))
    assert made_source(hearts) == "generated"
    assert made_source(hearts[hearts["source"] == "real"]) is None


def test_a_table_of_measures_without_source_is_refused(tmp_path):
    (tmp_path / "measures.csv").write_text("case,lvedv_ml\na,1\n")
    with pytest.raises(DataError, match="lacks the columns source"):
        read_measures(opened(tmp_path))


def test_effects_have_their_interval_and_share(folder):
    run = opened(folder, pooled_effects(share=0.5), "metrics: {pooling: {steps: {age_years: 10.0}}}")
    found = {(effect.measure, effect.condition): effect for effect in effects_of(pooled(run))}
    assert found["lvedv_ml", "age"].made == (-3.5, -5.0, -2.0)
    assert found["lvedv_ml", "age"].real == (-7.0, -8.5, -5.5)
    assert found["lvedv_ml", "age"].percent == (50.0, 30.0, 70.0)
    assert {condition for _, condition in found} == {"sex", "age", "sbp"}
    (section,) = sections.effects(run)
    assert "age (10 years)" in text(section)
    assert steps_of(run) == {"age_years": 10.0}
    table = percent_table(list(found.values()), {})
    cells = {row[0].text: [cell.text for cell in row[1:]] for row in table.rows}
    assert cells["LVEDV (mL)"] == ["50 %", "50 %", "50 %"]
    assert cells["LVM (g)"] == ["50 %", "–", "–"]  # of an effect whose interval holds 0
    assert "LVM by age, women, over the whole range" in text(section)
    assert "+0.4 % (−0.5 to 1.3)" in text(section)


def test_null_effects_are_marked(folder):
    effects = effects_of(pooled(opened(folder, pooled_effects())))
    figure = draw_effects(effects, made="generated", steps={}, controls=[("rvedv_ml", "sbp")])
    panel = figure.axes[2]
    assert panel.get_title(loc="left") == "systolic pressure"
    dots = [line for line in panel.lines if line.get_marker() == "o"]
    assert [dot.get_markerfacecolor() == "white" for dot in dots] == [False] * 4 + [True] * 2
    assert [told.get_text() for told in panel.texts][-1] == "null"
    assert draw_effects([], made="generated", steps={}) is None


def test_facts_are_told_in_words():
    rows = [("all", "two_sample_accuracy", 0.62, "1"), ("all", "two_sample_low", 0.55, "1")]
    rows += [("all", "two_sample_high", 0.68, "1"), ("all", "modelled_largest_first_percent", 93.0, "%")]
    rows += [
        ("all", "modelled_real_largest_first_percent", 97.0, "%"),
        ("lvedv_ml", "controllability", 0.91, "1"),
    ]
    of_cases = pd.DataFrame(case_rows(es_frame_percent=("all", (100.0, 0.0), "%")))
    table = fact_table(population_frame(rows), of_cases)
    told = {row[0].text: [cell.text for cell in row[1:3]] for row in table.rows}
    assert told == {
        "Completed: ES in the right frame": ["50 %", ""],
        "Generated: LV largest at ED": ["93 %", "97 %"],
        "Told apart from real hearts": ["0.62 (0.55 to 0.68)", ""],
        "Controllability of LVEDV": ["0.91", ""],
    }
    assert fact_table(population_frame([]), of_cases[:0]) is None


def test_errors_of_measures_keep_their_units_apart():
    rows = case_rows(
        measure_error=("lvedv_ml", (3.0, 5.0), "ml"), measure_bias=("lvedv_ml", (-3.0, 5.0), "ml")
    )
    rows += case_rows(measure_bias=("lvef_percent", (1.0, -2.0), "%"))
    rows += case_rows(measure_error=("lvef_percent", (1.0, 2.0), "%"), dice=("mean", (0.8, 0.9), "1"))
    frame = pd.DataFrame(rows)
    table = error_table(frame)
    assert [cell.text for cell in table.rows[0]] == ["LVEDV (mL)", "4.0 ± 1.4"]
    assert table.rows[0][1].detail == "+1.0"
    assert headline(frame).header == ("method", "Dice ↑")  # errors in mL and % have no mean


def test_what_is_pooled_is_no_case(tmp_path):
    table = pd.concat([
        pd.DataFrame(case_rows(dice=("mean", (0.8, 0.9), "1"), measure_error=("lvm_g", (1.0, 2.0), "g"))),
        population_frame([("mean", "dice", 0.1, "1"), ("mean", "w1_sd", 0.2, "1")]),
    ])  # fmt: skip
    table.to_csv(tmp_path / "results.csv", index=False)
    run = read_run(tmp_path)
    assert (len(single(run)), len(pooled(run))) == (4, 2)
    assert "<dt>Cases evaluated</dt><dd>2</dd>" in write_report(tmp_path).read_text()
    first, last = compare_runs([tmp_path])
    assert first.rows[0][1].text == "0.850 ± 0.071"
    assert last.title == "Hearts as populations"
    assert [cell.text for cell in last.rows[1]] == ["W1 in SD, mean over measures", "0.20"]
