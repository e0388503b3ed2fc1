"""What was measured continues where it was interrupted, and only there."""

from __future__ import annotations

import pandas as pd

from experiments.performance.measurements import Measurements, Row

FACTS = {"cpu": "model", "threads": "2"}


def row(item):
    return Row("operators", item, "96x96x96", "medreg", "forward", "wall_s", 1.0)


def test_an_interrupted_section_keeps_its_rows(tmp_path):
    measured = Measurements(tmp_path, facts=FACTS)
    measured.begin("operators", {"quick": True})
    measured.add([row("warp")])
    again = Measurements(tmp_path, facts=FACTS)
    again.begin("operators", {"quick": True})
    assert again.has("operators", "warp", "96x96x96", "forward")
    assert not again.has("operators", "lncc", "96x96x96", "forward")


def test_other_settings_and_finished_sections_begin_anew(tmp_path):
    measured = Measurements(tmp_path, facts=FACTS)
    measured.begin("operators", {"quick": True})
    measured.add([row("warp")])
    measured.begin("operators", {"quick": False})
    assert measured.rows() == []
    measured.add([row("warp")])
    measured.finish("operators")
    measured.begin("operators", {"quick": False})
    assert measured.rows() == []
    assert list(tmp_path.glob("bench.operators.*.csv"))  # the old rows are kept aside


def test_sections_do_not_touch_one_another(tmp_path):
    measured = Measurements(tmp_path, facts=FACTS)
    measured.begin("operators", {})
    measured.add([row("warp")])
    measured.begin("steps", {})
    assert len(measured.rows()) == 1


def test_half_a_measurement_is_not_read(tmp_path):
    measured = Measurements(tmp_path, facts=FACTS)
    measured.add([row("warp")])
    with measured.store.file.open("a") as stream:
        stream.write('{"key": {"section": "operators", "item": "lncc')
    again = Measurements(tmp_path, facts=FACTS)
    assert [found["item"] for found in again.rows()] == ["warp"]
    assert again.rows()[0]["cpu"] == "model"
    again.add([row("dice"), row("lncc")])
    frame = pd.read_csv(tmp_path / "bench.csv")
    assert frame["item"].tolist() == ["warp", "dice", "lncc"]
    assert list(frame.columns) == list(again.header)


def test_a_table_of_an_earlier_version_is_set_aside(tmp_path):
    (tmp_path / "bench.csv").write_text("section\noperators\n")
    Measurements(tmp_path, facts=FACTS).add([row("warp")])
    assert (tmp_path / "bench.earlier.csv").read_text() == "section\noperators\n"
    assert len(pd.read_csv(tmp_path / "bench.csv")) == 1
