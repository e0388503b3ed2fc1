"""Every metric that the reference documents has a printed name and a direction."""

from __future__ import annotations

import re
from pathlib import Path

from medreg.reporting.vocabulary import METRICS, describe, heading

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "metrics.md"


def test_every_documented_metric_has_a_printed_name():
    table = PAGE.read_text().split("## Definitions")[0]
    cells = re.findall(r"^\| (`[^|]+) \|", table, flags=re.MULTILINE)
    names = [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]
    assert len(names) > 10
    assert [name for name in names if name not in METRICS] == []


def test_an_unknown_metric_keeps_its_name_without_a_direction():
    assert describe("my_own_number").label == "my own number"
    assert heading("my_own_number", "mm") == "my own number (mm)"
