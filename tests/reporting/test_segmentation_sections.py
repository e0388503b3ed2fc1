"""Sections of a segmentation: numbers by phase, the extremes, and what corruption does to Dice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from medreg.reporting import segmentation_sections as sections
from medreg.reporting.results import RESULT_COLUMNS, RunFolder
from medreg.reporting.robustness import (
    CLEAN,
    corrupted_results,
    draw_by_kind,
    draw_by_strength,
    with_corruption,
)

SCORES = {"LV": 0.9, "MYO": 0.8}


def rows(cases, *, drop=0.0, phase=""):
    """Dice of two structures and their mean for each case."""
    found = []
    for case in cases:
        scores = {name: score - drop for name, score in SCORES.items()}
        scores["mean"] = float(np.mean(list(scores.values())))
        for structure, value in scores.items():
            values = ("run", "net", "acdc", "test", case, "net", structure, "dice", value, "1")
            found.append({**dict(zip(RESULT_COLUMNS, values, strict=True)), "phase": phase})
    return found


def folder(tmp_path, table, config=""):
    return RunFolder(
        tmp_path, {"labels": {"LV": 3, "MYO": 2}}, pd.DataFrame(table), pd.DataFrame(), config, ()
    )


def corrupted(drop=0.2, kind="motion"):
    return [f"patient007_ED_{kind}_{copy}" for copy in (1, 2, 3)], drop


def test_phases_have_a_column_each(tmp_path):
    table = rows(["a_ED", "b_ED"], phase="ED") + rows(["a_ES", "b_ES"], drop=0.1, phase="ES")
    (section,) = sections.phases(folder(tmp_path, table[6:] + table[:6]))
    text = "".join(section.body)
    assert text.index(">ED<") < text.index(">ES<")
    for value in ("0.900", "0.800", "0.700"):
        assert value in text
    assert "<strong>" not in text
    assert "<b>" not in text


def test_without_phases_there_is_no_section(tmp_path):
    assert list(sections.phases(folder(tmp_path, rows(["a"])))) == []
    assert list(sections.robustness(folder(tmp_path, rows(["a"])))) == []


def test_ids_say_what_was_done_to_a_case():
    cases = ["patient007_ED_motion_2", "patient007_ED", "sub_frame_3", "x_gain_1"]
    told = with_corruption(pd.DataFrame(rows(cases)), ["motion", "gain"], strength=2.0)
    first = told.drop_duplicates("case").set_index("case")
    assert first["kind"].tolist() == ["motion", CLEAN, CLEAN, "gain"]
    assert first["copy"].tolist() == [2, 0, 0, 1]
    assert first["strength"].tolist() == [2.0, 0.0, 0.0, 2.0]
    assert first.loc["patient007_ED_motion_2", "original"] == "patient007_ED"


def test_robustness_is_told_by_kind(tmp_path):
    names, drop = corrupted()
    table = rows(["patient007_ED"]) + rows(names, drop=drop)
    config = "data: {corruption: {strength: 1.5, kinds: {motion: {}}}}"
    (section,) = sections.robustness(folder(tmp_path, table, config))
    text = "".join(section.body)
    assert "Strength 1.5" in text
    assert text.index(">clean<") < text.index(">motion<")
    assert "0.700" in text
    assert len(section.pictures[0].png) > 3000


def test_curves_need_several_strengths(tmp_path):
    names, _ = corrupted()
    elsewhere = pd.DataFrame(rows(["patient007_ED"], drop=0.5)).assign(run="other")
    runs = [folder(tmp_path, rows(["patient007_ED"])), folder(tmp_path, elsewhere)]
    for strength in (0.5, 1.0):
        config = f"data: {{corruption: {{strength: {strength}, kinds: {{motion: {{}}}}}}}}"
        runs.append(folder(tmp_path, rows(names, drop=0.2 * strength), config))
    told = corrupted_results(runs)
    figure = draw_by_strength(told)
    line = figure.axes[0].lines[0]
    assert line.get_xdata().tolist() == [0.0, 0.5, 1.0]
    assert line.get_ydata().tolist() == pytest.approx([0.85, 0.75, 0.65])
    assert draw_by_strength(told[told["strength"] == 1.0]) is None
    assert draw_by_kind(told) is not None


def test_extremes_are_drawn_and_a_damaged_one_is_told(tmp_path):
    label = np.zeros((12, 14), np.uint8)
    label[4:8, 5:9] = 3
    (tmp_path / "extremes").mkdir()
    for name, score in (("best", 0.95), ("worst", 0.25)):
        np.savez(
            tmp_path / "extremes" / f"{name}.npz", image=label * 0.2, label=label, prediction=label,
            spacing_mm=np.ones(2), score=score, case=f"p_{name}", metric="dice",
        )  # fmt: skip
    (tmp_path / "extremes" / "median.npz").write_bytes(b"no array")
    run = folder(tmp_path, rows(["a"]))
    (section,) = sections.extremes(run)
    assert [picture.name for picture in section.pictures] == ["extreme_best", "extreme_worst"]
    assert section.pictures[1].caption == "worst: p_worst, Dice 0.250."
    assert "median.npz" in section.notes[0]
    assert list(sections.extremes(replace(run, path=tmp_path / "none"))) == []
