"""Tables survive a process that was killed while writing."""

from __future__ import annotations

from medreg.callbacks.tabular import append_rows, read_rows, replace_rows

HEADER = ("case", "value")


def test_rows_are_appended_under_one_header(tmp_path):
    file = tmp_path / "t.csv"
    append_rows(file, HEADER, [{"case": "a", "value": 1}])
    append_rows(file, HEADER, [{"case": "b, quoted", "value": 2}])
    assert read_rows(file) == [{"case": "a", "value": "1"}, {"case": "b, quoted", "value": "2"}]


def test_an_unfinished_last_line_is_dropped(tmp_path):
    file = tmp_path / "t.csv"
    append_rows(file, HEADER, [{"case": "a", "value": 1}, {"case": "b", "value": 2}])
    file.write_text(file.read_text()[:-2])
    assert [row["case"] for row in read_rows(file)] == ["a"]


def test_missing_table_has_no_rows(tmp_path):
    assert read_rows(tmp_path / "none.csv") == []


def test_replacing_leaves_no_part_file(tmp_path):
    file = tmp_path / "t.csv"
    append_rows(file, HEADER, [{"case": "a", "value": 1}])
    replace_rows(file, HEADER, [{"case": "c", "value": "3"}])
    assert read_rows(file) == [{"case": "c", "value": "3"}]
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]
