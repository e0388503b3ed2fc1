"""Tables as people and spreadsheets write them: read as they are meant, or refused in a sentence."""

from __future__ import annotations

import codecs

import pytest

from medreg.data.datasets.base import told
from medreg.data.tables import read_rows
from medreg.errors import DataError

TEXT = "image,age\nMüller.nii.gz,35\n"
ROWS = [{"image": "Müller.nii.gz", "age": "35"}]


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode(),
        codecs.BOM_UTF8 + TEXT.encode(),
        TEXT.encode("utf-16"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
        TEXT.replace(",", ";").encode(),
        TEXT.replace(",", "\t").encode(),
        TEXT.replace("\n", "\r\n").encode(),
        b"\n" + TEXT.encode() + b"\n,\n",
        b'"image", age\n"M\xc3\xbcller.nii.gz", 35,,\n',
    ],
    ids=[
        "utf-8",
        "mark",
        "utf-16",
        "utf-16 big",
        "semicolons",
        "tabs",
        "dos",
        "blank lines",
        "quotes, blanks",
    ],
)
def test_one_table_in_every_dress(tmp_path, content):
    (tmp_path / "t.csv").write_bytes(content)
    assert read_rows(tmp_path / "t.csv", "image") == ROWS


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (TEXT.encode("latin-1"), r"not UTF-8 text \(line 2\); it may be Latin-1"),
        (TEXT.encode("utf-16-le"), "UTF-16 without a byte-order mark|no table"),
        (codecs.BOM_UTF16_LE + b"a", "not UTF-16 text"),
        (b"image,age\na.nii.gz\n", "line 2 has 1 cells but the header has 2"),
        (b"image,age\na.nii.gz,1\nb,c.nii.gz,2\n", "line 3 has 3 cells"),
        (b'image,age\n"a.nii.gz,1\n', "cannot be read at line 2"),
        (b"image|age\na.nii.gz|1\n", r"it has image\|age"),
        (b"image,age,image\na,1,b\n", "the column 'image' twice"),
        (b"", "it is empty"),
    ],
)
def test_what_is_no_such_table_is_said(tmp_path, content, message):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_rows(tmp_path / "t.csv", "image")


def test_a_quoted_name_may_hold_the_separator_and_a_line_break(tmp_path):
    (tmp_path / "t.csv").write_text('image,age\n"a,b.nii.gz","1\n2"\n')
    assert read_rows(tmp_path / "t.csv", "image") == [{"image": "a,b.nii.gz", "age": "1\n2"}]


def test_a_folder_in_place_of_a_table_is_a_sentence(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_rows(tmp_path, "image")


def test_numbers_with_a_comma_do_not_become_categories():
    with pytest.raises(DataError, match="age is '35,8'"):
        told({"age": "35,8"}, {"age": "age"})
    with pytest.raises(DataError, match="age is 'inf'"):
        told({"age": "inf"}, {"age": "age"})
    assert told({"age": "35.8"}, {"age": "age"}) == {"age": 35.8}
