from __future__ import annotations

import argparse
import io
import json

from medreg.cli import report as command
from medreg.reporting.citations import all_entries, entries_for
from medreg.reporting.compare import by_data_set, compare_runs
from medreg.reporting.terminal import print_summary


def test_runs_stand_side_by_side_with_one_unregistered_row(make_run, rows, frame):
    folders = [
        make_run(name, results=frame(rows([0.5, 0.6], method="unregistered"), rows([low, 0.9], method="net")))
        for name, low in (("a", 0.7), ("b", 0.8))
    ]
    (table,) = compare_runs(folders, tests=False)
    found = {row[0].text: row[1].text.split()[0] for row in table.rows}
    assert found == {"unregistered": "0.550", "net [a]": "0.800", "net [b]": "0.850"}


def test_several_data_sets_stand_side_by_side(make_run, rows, frame):
    """The row is the weights, in whichever folder they were evaluated."""
    folders = []
    for name, data, weights, value in (
        ("a", "acdc", "w1", 0.9), ("b", "mnms", "w1", 0.8), ("c", "acdc", "w2", 0.7), ("d", "mnms", "w2", 0.85),
    ):  # fmt: skip
        table = frame(rows([value, value])).assign(data=data)
        folders.append(make_run(name, results=table, record={"weights": weights}))
    found = by_data_set(folders)
    assert found.header == ("method", "acdc, test", "mnms, test")
    cells = {row[0].text: [cell.text.split()[0] for cell in row[1:]] for row in found.rows}
    assert cells == {"net [a]": ["0.900", "0.800"], "net [c]": ["0.700", "0.850"]}
    assert [[cell.bold for cell in row[1:]] for row in found.rows] == [[True, False], [False, True]]
    assert by_data_set(folders[::2]) is None
    assert compare_runs(folders, tests=False)[-1].title == found.title


def test_terminal_summary_fits_eighty_columns(finished_run):
    from rich.console import Console

    console = Console(width=80, file=io.StringIO(), record=True)
    print_summary(finished_run, console=console)
    text = console.export_text()
    assert "…" not in text
    assert "unregistered" in text
    assert "HD95 (mm) ↓" in text
    assert str(finished_run) in text.replace("\n", "")


def test_citations_follow_the_choices():
    entries = entries_for({"model": "gradirn", "choices": {"similarity": "nmi", "transformation": "dense"}})
    assert [entry.split("{")[1].split(",")[0] for entry in entries] == ["qiu2022gradirn", "studholme1999nmi"]
    assert entries_for({}) == []


def test_references_are_whole_bibtex():
    entries = all_entries()
    keys = [entry.split("{")[1].split(",")[0] for entry in entries]
    assert len(set(keys)) == len(keys) >= 15
    for entry, words in entries.items():
        assert entry.count("{") == entry.count("}")
        assert "keywords" not in entry
        assert all(word.count("=") == 1 for word in words)


def run_command(*words):
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    args = parser.parse_args(["report", *map(str, words)])
    return args.run(args)


def test_command_makes_the_report_again(finished_run, capsys):
    assert run_command(finished_run) == 0
    assert (finished_run / "report.html").is_file()
    assert "report.html" in capsys.readouterr().out.replace("\n", "")


def test_command_prints_tables_and_citations(finished_run, capsys):
    run_command(finished_run, "--markdown")
    assert capsys.readouterr().out.startswith("**phantom, test**\n\n| method | Dice ↑ |")
    run_command(finished_run, "--latex")
    assert r"\begin{tabular}{lrrr}" in capsys.readouterr().out
    run_command(finished_run, "--bibtex")
    assert "qiu2022gradirn" in capsys.readouterr().out
    assert json.loads((finished_run / "run.json").read_text())["status"] == "finished"
