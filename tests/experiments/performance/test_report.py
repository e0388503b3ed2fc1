"""Tables and documents are made from the measurements alone."""

from __future__ import annotations

import pytest

from experiments.performance.frame import geometric_mean, read_frame
from experiments.performance.measurements import Measurements, Row
from experiments.performance.report import fill_document, write_report
from experiments.performance.scaling_section import exponent
from experiments.performance.sheet import number
from experiments.performance.targets import Target, targets_sheet
from medreg.errors import ConfigError

FACTS = dict.fromkeys(("cpu", "cores", "threads", "device", "python", "torch", "medreg", "commit"), "x")
SIZE = "128x128x128"


def measured(tmp_path):
    measured = Measurements(tmp_path, facts=FACTS)
    times = {"medreg": 0.010, "MONAI": 0.050, "floor": 0.001}
    rows = [
        Row("operators", "lncc", SIZE, name, mode, quantity, value, version="1", note="memory")
        for mode in ("forward", "forward+backward")
        for name, value in times.items()
        for quantity in ("wall_s", "cpu_min_s")
    ]
    rows += [
        Row("operators", "lncc", SIZE, "MONAI", mode, quantity, 0.2, 0.1, 0.25)
        for mode in ("forward", "forward+backward")
        for quantity in ("wall_ratio", "cpu_ratio_of_minima")
    ]
    rows += [
        Row("scaling", "evaluation", f"{s}x{s}x{s}", "medreg", "voxels", quantity, 1e-6 * s**3)
        for s in (64, 128)
        for quantity in ("wall_min_s", "cpu_min_s", "memory_mib")
    ]
    measured.add(rows)
    return tmp_path


def test_a_ratio_becomes_how_many_times_as_long_the_other_takes(tmp_path):
    sheets = {sheet.name: sheet for sheet in write_report(measured(tmp_path))}
    (forward, both) = sheets["operators"].rows
    assert both[:8] == [
        "LNCC, window 9", "128³", "forward+backward", "10", "10", "10 m", "MONAI", "5 × (4–10)",
    ]  # fmt: skip
    assert forward[2] == "forward"
    assert "| LNCC, window 9 | 128³ |" in (tmp_path / "report.md").read_text()
    assert (tmp_path / "performance_operators.svg").stat().st_size > 1000


def test_targets_are_judged(tmp_path):
    rows = {row[0]: row for row in targets_sheet(read_frame(measured(tmp_path))).rows}
    assert rows["LNCC 9 with backward at 128³ against MONAI"][1:] == ["5", "≥ 4", "reached"]
    assert rows["Learn2Reg metrics of a pair against the official script, CPU time"][3] == "not measured"
    assert Target("", 1.2, 1.15, at_least=False).verdict == "**missed**"


def test_marked_places_are_filled_and_the_rest_stays(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "before\n<!-- bench:operators -->\nold\n<!-- /bench -->\nafter <!-- bench:steps -->\nkept\n<!-- /bench -->"
    )
    fill_document(page, measured(tmp_path))
    text = page.read_text()
    assert text.startswith("before\n<!-- bench:operators -->\n\n| operator |")
    assert "old" not in text
    assert "kept" in text  # steps were not measured
    fill_document(page, tmp_path)
    assert page.read_text() == text


def test_an_unknown_mark_is_refused(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- bench:speed -->\n<!-- /bench -->")
    with pytest.raises(ConfigError, match="bench:speed"):
        fill_document(page, measured(tmp_path))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.012345, "0.0123"), (12.345, "12.3"), (1234.5, "1\u2009230"), (float("nan"), "–")],
)
def test_numbers_are_short(value, text):
    assert number(value) == text


def test_exponent_and_mean_of_known_laws():
    assert exponent([(n, 3 * n**1.5) for n in (10, 100, 1000)], least=0) == pytest.approx(1.5)
    assert geometric_mean([2.0, 8.0, float("nan")]) == pytest.approx(4.0)
