"""Numbers in the cells of tables, and which are best."""

from __future__ import annotations

import math

import pytest

from medreg.reporting.cells import best, number, spread
from medreg.reporting.formats import to_csv
from medreg.reporting.tables import Cell, Table


def test_numbers_have_a_true_minus_and_nothing_is_a_dash():
    assert [number(value, 2) for value in (1.005, -0.5, math.nan, math.inf)] == ["1.00", "−0.50", "–", "∞"]
    assert (number(0.25, 1, sign=True), number(-3, 0, sign=True)) == ("+0.2", "−3")
    assert [spread(0.5, sd, 1) for sd in (0.25, math.nan)] == ["0.5 ± 0.2", "0.5"]
    assert spread(math.nan, 0.1, 1) == "–"


@pytest.mark.parametrize(
    ("better", "expected"),
    [
        ("higher", [False, True, True, False]),
        ("lower", [True, False, False, False]),
        ("neither", [False] * 4),
    ],
)
def test_all_that_print_as_the_best_are_best(better, expected):
    assert best([0.1, 0.2049, 0.2001, math.nan], better, 2) == expected


def test_one_number_alone_is_no_best():
    assert best([0.4, math.nan], "higher", 3) == [False, False]


def test_programs_read_plain_minus_signs():
    table = Table("", ("row", "change"), ((Cell("a"), Cell(number(-1.5, 1), number(-2.0, 1))),))
    assert to_csv(table) == 'row,change,"change, median"\na,-1.5,-2.0\n'
