"""Sections of a run that ages hearts, on made folders."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from made_hearts import SPACING, made_heart, population_frame, write_ageing

from medreg.reporting import heart_ageing_sections as sections
from medreg.reporting import heart_sections
from medreg.reporting.heart_ageing_plots import bias_by_gap, brought, by_group, identity, visit_pairs, visits
from medreg.reporting.heart_tables import age_groups, compared, made_source, read_every_real, read_measures
from medreg.reporting.results import RESULT_COLUMNS, RunFolder


def opened(path, rows=(), cases=()):
    table = population_frame(rows) if rows else pd.DataFrame(columns=list(RESULT_COLUMNS))
    table = pd.concat([table, pd.DataFrame(list(cases), columns=list(RESULT_COLUMNS))]) if cases else table
    return RunFolder(path, {}, table, pd.DataFrame(), "", tuple(sorted((path / "cases").glob("*.npz"))))


def text(section):
    return re.sub(r"<[^>]+>", " ", "".join(section.body))


@pytest.fixture(name="folder", scope="module")
def folder_fixture(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ageing")
    write_ageing(folder, count=150, samples=5)
    return folder


@pytest.fixture(name="hearts")
def hearts_fixture(folder):
    return read_measures(opened(folder))


def test_an_empty_run_has_no_section(tmp_path):
    run = opened(tmp_path)
    for name in ("ages", "course", "second_visits", "collusion"):
        assert list(getattr(sections, name)(run)) == []


def test_a_heart_stands_in_a_row_at_every_age(folder, tmp_path):
    (section,) = sections.ages(opened(folder))
    assert [picture.name for picture in section.pictures] == ["aged_heart_000"]
    (tmp_path / "cases").mkdir()
    arrays = {"label": made_heart(2), "aged": made_heart(2), "spacing_mm": np.array(SPACING)}
    np.savez(tmp_path / "cases" / "a.npz", **arrays)
    (section,) = sections.ages(opened(tmp_path))
    assert section.pictures == ()
    assert "aged hearts have the shape (2, 32, 32, 16)" in section.notes[0]


def test_the_course_shows_means_of_the_hearts_of_each_group(hearts):
    figure = by_group(hearts, ["lvedv_ml"])
    assert [axis.get_ylabel() for axis in figure.axes] == ["women", "men"]
    for sex, axis in enumerate(figure.axes):
        real, aged = (container.lines[0].get_ydata() for container in axis.containers)
        own = brought(hearts)[lambda rows, sex=sex: rows["sex"] == sex]
        assert aged == pytest.approx(own.groupby("to_group")["lvedv_ml"].mean().to_numpy())
        first = hearts[(hearts["source"] == "real") & (hearts["sex"] == sex)]
        groups = first.groupby(age_groups(first["age_years"].to_numpy()))["lvedv_ml"]
        counted = groups.mean()[groups.count() >= 5]
        assert real == pytest.approx(counted.to_numpy())
    assert len(brought(hearts)) == 7 * 150  # without the predictions of second visits


def test_the_real_line_is_of_training_hearts_too(folder, hearts, tmp_path):
    more = hearts[hearts["source"] == "real"].assign(source="real_training", lvedv_ml=200.0)
    more.to_csv(tmp_path / "training_measures.csv", index=False)
    known = read_every_real(opened(tmp_path), hearts)
    assert len(known) == 300
    assert len(read_every_real(opened(folder), hearts)) == 150
    real = (
        by_group(hearts, ["lvedv_ml"], known=known[known["source"] == "real_training"]).axes[0].containers[0]
    )
    assert real.lines[0].get_ydata() == pytest.approx(200.0)


def test_few_people_make_no_course(hearts):
    few = hearts[hearts["case"].isin(["heart_000", "heart_001", "heart_002"])]
    assert by_group(few) is None


def test_one_sex_and_no_aged_hearts(hearts):
    assert [axis.get_ylabel() for axis in by_group(hearts[hearts["sex"] == 0], ["lvm_g"]).axes] == ["women"]
    real = hearts[hearts["source"] == "real"]
    assert by_group(real) is None
    assert identity(real) is None
    assert visits(real) is None
    assert made_source(real) is None


def test_identity_is_told_within_each_sex(hearts):
    figure = identity(hearts)
    assert [axis.get_title(loc="left") for axis in figure.axes] == [
        "brought to ≤ 50 years",
        "brought to > 75 years",
    ]
    told = [handle.get_text() for handle in figure.axes[1].get_legend().get_texts()]
    for sex, label in enumerate(told):
        aged = hearts[(hearts["to_group"] == 6) & hearts["gap_years"].isna() & (hearts["sex"] == sex)]
        back = hearts[hearts["source"] == "reconstructed"].set_index("case")["lvedv_ml"]
        r = np.corrcoef(back.loc[aged["case"]], aged["lvedv_ml"])[0, 1]
        assert label == f"{['women', 'men'][sex]}, r = {r:.2f}"


def test_second_visits_compare_changes_and_not_volumes(hearts):
    pairs = visit_pairs(hearts, "lvedv_ml")
    assert len(pairs) == 150
    one = hearts[hearts["case"] == "heart_003"]
    aged = one[(one["source"] == "aged") & one["gap_years"].notna() & (one["sample"] == 0)]
    assert pairs.loc["heart_003", "aged"] == pytest.approx(aged["lvedv_ml"].item())
    told = pairs.assign(predicted=pairs["aged"] - pairs["back"], observed=pairs["later"] - pairs["real"])
    rows = {words: (count, means) for words, count, means in bias_by_gap(told)}
    assert list(rows) == ["< 5", "5–10", "≥ 10"]
    assert sum(count for count, _ in rows.values()) == 150
    long = told[told["gap_years"] >= 10]
    assert rows["≥ 10"][1]["no change"][0] == pytest.approx(-long["observed"].mean())
    assert abs(rows["≥ 10"][1]["aged"][0]) < 1.5 < 7 < rows["≥ 10"][1]["no change"][0]


def test_numbers_of_second_visits_and_slopes_are_told(folder):
    rows = [
        ("lvedv_ml", "visit_bias_long", 1.2, "ml"), ("lvedv_ml", "no_change_bias_long", 8.0, "ml"),
        ("lvedv_ml", "visit_r", 0.31, "1"), ("lvedv_ml", "interval_coverage_percent", 79.0, "%"),
        ("lvedv_ml", "ageing_slope_female", -6.0, "ml"), ("lvedv_ml", "ageing_slope_real_female", -7.0, "ml"),
        ("lvedv_ml", "ageing_slope_real_female_low", -8.0, "ml"), ("lvedv_ml", "identity_r_female", 0.85, "1"),
        ("lvedv_ml", "ageing_slope_real_female_high", -6.1, "ml"),
    ]  # fmt: skip
    (visited,) = sections.second_visits(opened(folder, rows))
    assert re.search(r"LVEDV \(mL\)\s+\+1.2\s+\+8.0\s+0.31\s+79 %", text(visited))
    (course,) = sections.course(opened(folder, rows))
    assert re.search(r"LVEDV \(mL\), women\s+−6.0\s+−7.0 \(−8.0 to −6.1\)\s+0.85", text(course))


def test_collusion_shows_both_accuracies(folder):
    rows = []
    for case, real in (("a", 0.0), ("b", 40.0)):
        for metric, value in (
            ("inner_age_right_real_percent", real),
            ("inner_age_right_made_percent", 100.0),
        ):
            rows.append(("run", "ageheart", "hearts", "test", case, "ageheart", "all", metric, value, "%"))
    (section,) = sections.collusion(opened(folder, cases=rows))
    assert re.search(r"real hearts\s+20 %\s+2", text(section))
    assert re.search(r"brought to every group\s+100 %\s+2", text(section))


def test_distributions_leave_second_visits_out(folder, hearts, monkeypatch):
    monkeypatch.setattr(heart_sections, "SHOWN", ("lvedv_ml",))
    assert len(compared(hearts)) == 150 + 7 * 150 + 150  # real, at every age, given back
    (section,) = heart_sections.distributions(opened(folder))
    assert section.title == "Real and aged hearts"
