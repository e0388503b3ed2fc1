"""A wrong table file is refused before any work, with file, line and remedy."""

from __future__ import annotations

import re

import pytest


def line_of(experiments, word):
    lines = experiments.file.read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if word in line)


@pytest.mark.parametrize(
    ("old", "new", "at", "says"),
    [
        ("  new:\n", "  old:\n", "  old:\n", "two rows have the name 'old'"),
        ("  dice:\n", "  dicee:\n", "  dicee:", "Did you mean 'dice'"),
        ("reference: old", "reference: olt", "reference", "Did you mean 'old'"),
        ("  - new.dice > old.dice\n", "  - new.dice >= old.dice\n", ">=", "is no claim"),
        ("  - new.dice > old.dice\n", "  - new.dice > nwe.dice\n", "nwe", "Did you mean 'new'"),
        ("  - new.dice > old.dice\n", "  - new.hd95 > old.dice\n", "hd95", "no column 'hd95'"),
        ("    tuning: 3", "    tunning: 3", "tunning", "Did you mean 'tuning'"),
        ("  laptop: {}", "  desktop: {}", "desktop", "smoke"),
        ("seeds: [1, 2, 3]", "seeds: [1, two]", "[1, two]", "valid integer"),
        ("seeds: [1, 2, 3]", "seeds: [1, 2", "reference", "not YAML"),
        ("tiny_work.TinyWork", "tiny_work.Nothing", "tiny_work", "cannot be found"),
        ("reference: old\n", "match: steps\n", "match", "name one"),
        ("    label: Old method", "    of: newer", "of:", "Did you mean 'new'"),
    ],
)
def test_mistake_is_told_with_its_line(experiments, capsys, old, new, at, says):
    experiments.change(old, new)
    assert experiments.run() == 1
    told = capsys.readouterr().err
    assert says in told
    named = int(re.search(rf"{re.escape(str(experiments.file))}:(\d+)", told).group(1))
    assert abs(named - (line_of(experiments, at.strip()) if "two rows" not in says else 8)) <= 1
    assert experiments.done() == []


def test_option_that_does_not_exist_is_told_with_the_line_of_its_row(experiments, capsys):
    experiments.change("    work: *tiny\n    overrides: [mean=0.85]", "    overrides: [model=gradirm]")
    assert experiments.run() == 1
    told = capsys.readouterr().err
    assert f"{experiments.file}:{line_of(experiments, 'gradirm')}" in told
    assert "gradirn" in told
    assert experiments.done() == []


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("P,D,M,dice,0.8,1,page 3,yes,two,newer", "published row 'newer' has no counterpart"),
        ("P,D,M,hd95,0.8,1,page 3,yes,two,new", "published metric 'hd95' has no column"),
        ("P,D,M,dice,high,1,page 3,yes,two,new", "is no number"),
    ],
)
def test_published_row_without_counterpart(experiments, capsys, line, says):
    experiments.publish("P,D,M,dice,0.7,1,page 2,yes,,", line)
    assert experiments.run() == 1
    told = capsys.readouterr().err
    assert says in told
    assert "expected.csv:3" in told


def test_unknown_names_on_the_command_line(experiments, capsys):
    assert experiments.run("--only", "newer") == 1
    assert "Did you mean 'new'" in capsys.readouterr().err
    assert experiments.run(scale="paper") == 1
    assert "no scale 'paper'" in capsys.readouterr().err
    from medreg.cli.main import main

    assert main(["table", "paper/tow", "--experiments", str(experiments.root / "experiments")]) == 1
    assert "Did you mean 'paper/two'" in capsys.readouterr().err
