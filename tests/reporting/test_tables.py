from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from medreg.reporting.formats import to_csv, to_latex, to_markdown, to_rich
from medreg.reporting.page import to_html
from medreg.reporting.tables import Cell, Table, by_structure, headline, summarise, with_means, worst_cases


@pytest.fixture
def two_methods(rows, frame):
    """Dice 0.1, 0.2, 0.6 against 0.5, 0.7, 0.9: means 0.3 and 0.7, medians 0.2 and 0.7, SD 0.2646 and 0.2."""
    return frame(
        rows([0.5, 0.7, 0.9], structure="mean"),
        rows([0.1, 0.2, 0.6], structure="mean", method="unregistered"),
    )


def test_summary_equals_numbers_by_hand(two_methods):
    row = summarise(two_methods).set_index("method").loc["unregistered"]
    assert row["mean"] == pytest.approx(0.3)
    assert row["sd"] == pytest.approx(np.sqrt((0.04 + 0.01 + 0.09) / 2))
    assert (row["median"], row["minimum"], row["maximum"], row["n"]) == (0.2, 0.1, 0.6, 3)


def test_headline_puts_unregistered_first_and_the_best_in_bold(two_methods):
    table = headline(two_methods, tests=False)
    assert table.header == ("method", "Dice ↑")
    assert [row[0].text for row in table.rows] == ["unregistered", "net"]
    assert [row[1] for row in table.rows] == [
        Cell("0.300 ± 0.265", "0.200", bold=False),
        Cell("0.700 ± 0.200", "0.700", bold=True),
    ]


def test_lower_is_better_for_distances_and_folds_have_no_best(rows, frame):
    table = headline(
        frame(
            rows([9.0, 7.0], method="unregistered", metric="hd95_mm", unit="mm"),
            rows([4.0, 6.0], metric="hd95_mm", unit="mm"),
            rows([0.0, 0.0], method="unregistered", metric="folding_percent", unit="%"),
            rows([1.0, 1.0], metric="folding_percent", unit="%"),
        ),
        tests=False,
    )
    assert table.header == ("method", "HD95 (mm) ↓", "folds (%) ↓")
    assert [cell.bold for row in table.rows for cell in row[1:]] == [False, False, True, False]


def test_undefined_values_are_left_out_and_counted(rows, frame):
    results = frame(rows([1.0, np.nan, 3.0, np.nan], metric="hd95_mm", unit="mm"))
    row = summarise(results).iloc[0]
    assert (row["n"], row["missing"], row["mean"]) == (2, 2, 2.0)
    assert "HD95, mean: undefined in 2 of 4 cases, left out." in headline(results).notes


def test_an_infinite_value_is_not_left_out_of_a_mean(rows, frame):
    results = frame(rows([1.0, 2.0, np.inf], structure="LV", metric="hd95_mm", unit="mm"))
    row = summarise(results).iloc[0]
    assert (row["n"], row["missing"], row["mean"], row["median"]) == (3, 0, np.inf, 2.0)
    assert headline(results, tests=False).rows[0][1] == Cell("∞", "2.00")


def test_losses_are_shown_where_there_are_any(rows, frame):
    dice = rows([0.5, 0.6], structure="mean")
    none = frame(dice, rows([0.0, 0.0], structure="all", metric="lost_structures"))
    some = frame(dice, rows([0.0, 1.0], structure="all", metric="lost_structures"))
    assert headline(none, tests=False).header == ("method", "Dice ↑")
    assert headline(some, tests=False).header == ("method", "Dice ↑", "lost structures ↓")


def test_mean_over_structures_is_made_where_there_is_none(rows, frame):
    results = frame(rows([0.4, 0.8], structure="LV"), rows([0.6, np.nan], structure="RV"))
    full = with_means(results)
    assert full.loc[full["structure"] == "mean", "value"].tolist() == pytest.approx([0.5, 0.8])
    assert len(with_means(full)) == len(full)


def test_structures_are_rows_and_methods_columns(rows, frame):
    results = frame(rows([0.4, 0.6], structure="LV"), rows([0.8], structure="RV"))
    table = by_structure(results, metric="dice")
    assert [row[0].text for row in table.rows] == ["LV", "RV", "mean"]
    assert [row[1].text for row in table.rows] == ["0.500 ± 0.141", "0.800", "0.600 ± 0.000"]


def test_method_without_a_metric_has_a_dash(rows, frame):
    results = frame(rows([0.4], method="a"), rows([1.0], method="b", metric="tre_mm", unit="mm"))
    assert [[cell.text for cell in row] for row in headline(results).rows] == [
        ["a", "0.400", "–"],
        ["b", "–", "1.00"],
    ]


def test_nothing_evaluated_is_an_empty_table(frame):
    assert headline(frame()).rows == ()
    assert summarise(frame()).empty


def test_worst_cases_come_first(two_methods):
    table = worst_cases(two_methods, method="net", metric="dice", count=2)
    assert table["case"].tolist() == ["c0", "c1"]
    assert table["unregistered"].tolist() == [0.1, 0.2]


SAMPLE = Table(
    "T", ("method", "HD95 (mm) ↓"), ((Cell("a_b|c<&"), Cell("1.0 ± 0.5", "0.9", bold=True)),), ("note",)
)


def test_markdown_escapes_pipes_and_marks_the_best():
    assert r"| a_b\|c<& | **1.0 ± 0.5** (0.9) |" in to_markdown(SAMPLE)


def test_latex_escapes_what_latex_reads():
    text = to_latex(SAMPLE)
    assert r"a\_b|c$<$\& & \textbf{1.0 $\pm$ 0.5} (0.9) \\" in text
    assert r"HD95 (mm) $\downarrow$" in text
    assert text.count("{") == text.count("}")


def test_csv_has_medians_in_their_own_column():
    lines = list(csv.reader(io.StringIO(to_csv(SAMPLE))))
    assert lines == [["method", "HD95 (mm) ↓", "HD95 (mm) ↓, median"], ["a_b|c<&", "1.0 ± 0.5", "0.9"]]


def test_html_escapes_names():
    text = to_html(SAMPLE)
    assert "a_b|c&lt;&amp;" in text
    assert "<strong>1.0 ± 0.5</strong>" in text


def test_terminal_does_not_read_brackets_as_markup():
    from rich.console import Console

    console = Console(width=80, record=True, file=io.StringIO())
    console.print(to_rich(Table("", ("method", "Dice"), ((Cell("net [run1]"), Cell("0.5")),))))
    assert "net [run1]" in console.export_text()
