"""The tables that come with medreg: readable, composable, and their kept rows answer the claims as the files say."""

from __future__ import annotations

import pytest

from medreg.studies.table.committed import read_committed
from medreg.studies.table.places import all_tables
from medreg.studies.table.plan import make_plan
from medreg.studies.table.report import make_report
from medreg.studies.table.table_file import SCALES

TABLES = all_tables()


def plans(place):
    file = make_plan(place, "smoke").table
    return [make_plan(place, scale) for scale in SCALES if scale in file.scales]


def test_every_paper_has_a_table():
    assert {place.paper for place in TABLES} >= {"csain", "gradirn", "learn2reg", "midir", "vrnet"}


@pytest.mark.parametrize("place", TABLES, ids=str)
def test_a_table_is_read_without_refusal_at_every_scale(place):
    for plan in plans(place):
        assert plan.rows
        assert plan.table.title
        assert set(plan.table.scales[plan.scale].rows) <= set(plan.table.rows)
        assert all(row.of is None or row.of in plan.rows for row in plan.rows.values())
        for row in plan.rows:
            assert all("=" in word or word.startswith("~") for word in plan.overrides(row))


@pytest.mark.slow
@pytest.mark.parametrize("place", TABLES, ids=str)
def test_every_row_composes_at_every_scale(place):
    for plan in plans(place):
        for row in plan.rows:
            assert plan.config(row) is not None, row


@pytest.mark.parametrize("place", TABLES[::4], ids=str)
def test_the_units_of_a_table_at_smoke_are_listed(place):
    plan = make_plan(place, "smoke")
    last = plan.waves()[-1][-1:]
    requests = plan.requests(last)
    assert [plan.standing(one).state for one in requests] == ["missing"] * len(requests)


@pytest.mark.rows
@pytest.mark.parametrize("place", [place for place in TABLES if place.committed("laptop").is_file()], ids=str)
def test_kept_rows_answer_the_claims_as_expected(place):
    plan = make_plan(place, "laptop")
    results = read_committed(plan.table, "laptop", place.committed("laptop"))
    assert results.frame["row"].isin(plan.rows).all()
    assert make_report(place, results).differing() == []
