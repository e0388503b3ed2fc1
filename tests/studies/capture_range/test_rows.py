"""Tables of a capture range, which several processes may fill at once."""

from __future__ import annotations

from medreg.studies.capture_range.rows import RATES, Table


def row(measure, digest="a", **values):
    return {**dict.fromkeys(RATES, 0), "measure": measure, "title": measure, "digest": digest, **values}


def test_two_writers_lose_no_rows(tmp_path):
    path = tmp_path / "rates.csv"
    one, two = Table(path, columns=RATES), Table(path, columns=RATES)
    one.add([row("nmi", rate=1)])
    two.add([row("mad")])  # opened before the first row was there
    one.add([row("nmi", rate=2)])
    kept = Table(path, columns=RATES)
    assert [(r["measure"], r["rate"]) for r in kept.rows] == [("nmi", "1"), ("mad", "0"), ("nmi", "2")]
    assert len(one.done("nmi", "a")) == 2


def test_rows_of_other_settings_are_forgotten_and_those_of_other_measures_kept(tmp_path):
    path = tmp_path / "rates.csv"
    one, two = Table(path, columns=RATES), Table(path, columns=RATES)
    two.add([row("nmi", digest="old"), row("mad", digest="old")])
    assert one.drop_stale("nmi", "new") == 1
    assert [r["measure"] for r in Table(path, columns=RATES).rows] == ["mad"]
