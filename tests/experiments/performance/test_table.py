"""The table continues where it was interrupted, and only there."""

from __future__ import annotations

from experiments.performance.table import Row, Table

FACTS = {"cpu": "model", "threads": "2"}


def row(item):
    return Row("operators", item, "96x96x96", "medreg", "forward", "wall_s", 1.0)


def test_an_interrupted_section_keeps_its_rows(tmp_path):
    table = Table(tmp_path, facts=FACTS)
    table.begin("operators", {"quick": True})
    table.add([row("warp")])
    again = Table(tmp_path, facts=FACTS)
    again.begin("operators", {"quick": True})
    assert again.has("operators", "warp", "96x96x96", "forward")
    assert not again.has("operators", "lncc", "96x96x96", "forward")


def test_other_settings_and_finished_sections_begin_anew(tmp_path):
    table = Table(tmp_path, facts=FACTS)
    table.begin("operators", {"quick": True})
    table.add([row("warp")])
    table.begin("operators", {"quick": False})
    assert table.rows() == []
    table.add([row("warp")])
    table.finish("operators")
    table.begin("operators", {"quick": False})
    assert table.rows() == []
    assert list(tmp_path.glob("bench.operators.*.csv"))  # the old rows are kept aside


def test_sections_do_not_touch_one_another(tmp_path):
    table = Table(tmp_path, facts=FACTS)
    table.begin("operators", {})
    table.add([row("warp")])
    table.begin("steps", {})
    assert len(table.rows()) == 1


def test_half_a_row_is_not_read(tmp_path):
    table = Table(tmp_path, facts=FACTS)
    table.add([row("warp")])
    with table.file.open("a") as stream:
        stream.write("operators,lncc,96x9")
    assert [found["item"] for found in table.rows()] == ["warp"]
    assert table.rows()[0]["cpu"] == "model"
