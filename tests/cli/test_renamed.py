"""Names of earlier versions still answer, with a note."""

from __future__ import annotations

import pytest

from medreg.cli.main import build_parser, main
from medreg.cli.renamed import renamed


def test_old_names_become_todays_and_are_told_once(capsys):
    words = ["register", "f", "m", "--lambda", "0.3", "--lambda-label", "1=2", "--lambda-label=3=4"]
    assert renamed(words) == [
        "register", "f", "m", "--smoothness", "0.3", "--smoothness-label", "1=2", "--smoothness-label=3=4",
    ]  # fmt: skip
    told = capsys.readouterr().err.splitlines()
    assert told == [
        "--lambda is called --smoothness now.",
        "--lambda-label is called --smoothness-label now.",
    ]


def test_only_the_first_word_is_a_command(capsys):
    assert renamed(["draw-lambda", "search-lambda", "--lambdas", "0"]) == [
        "draw-smoothness", "search-lambda", "--smoothness", "0",
    ]  # fmt: skip
    assert renamed([]) == []
    capsys.readouterr()
    assert renamed(["doctor", "--set", "x=--lambda"]) == ["doctor", "--set", "x=--lambda"]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("old", ["search-lambda", "draw-lambda"])
def test_old_commands_run_and_are_not_listed(old, tmp_path, capsys):
    assert main([old, str(tmp_path / "none")]) == 1
    told = capsys.readouterr().err
    assert f"{old} is called" in told
    assert "is no run folder" in told
    assert old not in build_parser().format_help()
