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
        ("seeds: [1, 2, 3]", "seeds: []", "seeds: []", "at least 1 item"),
        ("seeds: [1, 2, 3]", "seeds: [1, 2, 1]", "[1, 2, 1]", "a seed stands twice"),
        ("seeds: [1, 2, 3]", "seeds: [-1]", "[-1]", "greater than or equal to 0"),
        ("seeds: [1, 2, 3]", "seeds: [true]", "[true]", "valid integer"),
        ("seeds: [1, 2, 3]", "seeds: [1]\nprobe_steps: [40, 10]", "probe", "then a larger one"),
        ("  dice:\n", "  dice: {scale: 0}\n", "  dice:", "greater than 0"),
        ("  dice:\n", "  dice: {decimals: -1}\n", "  dice:", "greater than or equal to 0"),
        ("  laptop: {}", "  laptop: {minutes: -1}", "laptop", "greater than 0"),
        ("  new:\n", "  ../new:\n", "../new", "a name is made of letters"),
        (
            "    tuning: 3",
            "    label: Old method # again",
            "again",
            "row 'old' is printed as 'Old method', too",
        ),
        ("{_target_: tiny_work.TinyWork}", "{}", "work:", "no kind of work"),
        ("{_target_: tiny_work.TinyWork}", "{_target_: torch.nn.Identity}", "work:", "no kind of work"),
        ("overrides: [mean=0.85]", "overrides: ['mean=0.8,0.9']", "0.8,0.9", "one value of each option"),
        ("overrides: [mean=0.85]", "overrides: [mean 0.85]", "mean 0.85", "Cannot read the option"),
        ("overrides: [mean=0.85]", "overrides: &x [*x]", "*x", "an alias stands inside"),
        ("title: Two methods", "title: !unknown x", "title", "constructor"),
        ("title: Two methods", "title: T\x01", "title", "special characters"),
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
    ("option", "says"),
    [("seed=3", "seeds are named by `seeds:`"), ("trainer.max_epochs=many", "a whole number")],
)
def test_option_that_no_run_could_have(experiments, capsys, option, says):
    experiments.change("    work: *tiny\n    overrides: [mean=0.85]", f"    overrides: [{option}]")
    assert experiments.run("--dry-run") == 1
    told = capsys.readouterr().err
    assert f"{experiments.file}:{line_of(experiments, option)}" in told
    assert says in told


def test_row_that_another_needs_at_a_scale_where_it_does_not_exist(experiments, capsys):
    experiments.change("    tuning: 3", "    of: old")
    experiments.change("    label: Old method", "    scales: [laptop]")
    assert experiments.run() == 1
    told = capsys.readouterr().err
    assert f"{experiments.file}:{line_of(experiments, 'of: old')}" in told
    assert "'old' is needed at the scale smoke" in told


def test_a_file_of_another_encoding(experiments, capsys):
    text = experiments.file.read_text()
    experiments.file.write_bytes(text.replace("Old", "\xc4lt").encode("latin-1"))
    assert experiments.run() == 1
    assert (
        f"{experiments.file}:{line_of_bytes(experiments, b'label')}: this is not UTF-8"
        in capsys.readouterr().err
    )
    experiments.file.write_bytes(text.encode("utf-8-sig"))
    assert experiments.run("--dry-run") == 0


def line_of_bytes(experiments, word):
    lines = experiments.file.read_bytes().splitlines()
    return next(number for number, line in enumerate(lines, 1) if word in line)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("P,D,M,dice,nan,1,page 3,yes,two,new", "is no number"),
        ("P,D,M,dice,0.8,1,page 3,yes,tow,new", "Did you mean 'two'"),
        (
            "P,D,M,dice,0.8,1,page 3,yes,two,new\nP,D,M,dice,0.9,1,page 3,yes,two,new",
            "published value already",
        ),
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
    assert f"expected.csv:{3 + line.count(chr(10))}" in told


def test_published_numbers_without_their_columns(experiments, capsys):
    (experiments.file.parents[1] / "expected.csv").write_text("paper;table;row\nP;two;new\n")
    assert experiments.run() == 1
    assert "expected.csv:1: there is no column metric, value, source" in capsys.readouterr().err


def test_unknown_names_on_the_command_line(experiments, capsys):
    assert experiments.run("--only", "newer") == 1
    assert "Did you mean 'new'" in capsys.readouterr().err
    assert experiments.run(scale="paper") == 1
    assert "no scale 'paper'" in capsys.readouterr().err
    from medreg.cli.main import main

    assert main(["table", "paper/tow", "--experiments", str(experiments.root / "experiments")]) == 1
    assert "Did you mean 'paper/two'" in capsys.readouterr().err
