"""A table does what is missing, names holes, keeps what stands, and says what is old and why."""

from __future__ import annotations

import re
import sys

import pytest


def test_same_command_repeats_nothing(experiments):
    assert experiments.run() == 0
    first = experiments.out("table.csv")
    assert sorted(experiments.done()) == ["new 1", "new 2", "old 1", "old 2"]
    assert experiments.run() == 0
    assert len(experiments.done()) == 4
    assert experiments.out("table.csv") == first


def test_changed_option_runs_that_row_only(experiments):
    experiments.run()
    experiments.change("mean=0.85", "mean=0.86")
    experiments.run()
    assert sorted(experiments.done()[4:]) == ["new 1", "new 2"]


def test_another_scale_and_single_rows(experiments):
    assert experiments.run("--only", "old") == 0
    assert experiments.done() == ["old 1", "old 2"]
    assert experiments.run(scale="laptop") == 0
    assert len(experiments.done()) == 2 + 6


def test_failed_unit_leaves_a_hole_that_is_named_and_tried_again(experiments):
    experiments.change("overrides: [mean=0.85]", "overrides: [mean=0.85, broken=true]")
    assert experiments.run() == 1
    page = experiments.out()
    assert "Hole: new, seed 1, failed: the loss is NaN in step 3" in page
    assert "| Old method | 0.8" in page
    assert "| new | – |" in page
    experiments.change(", broken=true", "")
    assert experiments.run() == 0
    assert sorted(experiments.done()[4:]) == ["new 1", "new 2"]
    assert "failed" not in experiments.out()


def test_a_killed_command_goes_on(experiments, monkeypatch):
    import tiny_work

    original, left = tiny_work.TinyWork.collect, [3]

    def dying(self, request):
        left[0] -= 1
        if not left[0]:
            raise SystemExit(9)
        return original(self, request)

    monkeypatch.setattr(tiny_work.TinyWork, "collect", dying)
    with pytest.raises(SystemExit):
        experiments.run()
    monkeypatch.setattr(tiny_work.TinyWork, "collect", original)
    assert experiments.run() == 0
    assert sorted(experiments.done()) == ["new 1", "new 2", "old 1", "old 2"]


def test_changed_code_is_named_and_refreshed_only_on_demand(experiments, monkeypatch):
    package = experiments.root / "site" / "user_work.py"
    package.parent.mkdir()
    text = "from tiny_work import TinyWork\n\n\nclass UserWork(TinyWork):\n    factor = 1\n"
    package.write_text(text)
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.delitem(sys.modules, "user_work", raising=False)
    experiments.change("tiny_work.TinyWork", "user_work.UserWork")
    assert experiments.run() == 0
    package.write_text(f'"""Only words."""\n{text}# and a comment\n')
    experiments.run()
    assert "†" not in experiments.out()
    package.write_text(text.replace("factor = 1", "factor = 20"))
    assert experiments.run() == 0
    assert "† Old method, seed 1, 2: user_work changed since; --refresh runs it again." in experiments.out()
    assert len(experiments.done()) == 4
    assert experiments.run("--refresh") == 0
    assert len(experiments.done()) == 8
    assert "†" not in experiments.out()


def test_dry_run_says_what_is_there_and_what_it_would_take(experiments, capsys):
    assert experiments.run("--only", "old") == 0
    capsys.readouterr()
    experiments.change("smoke: {seeds: [1, 2]}", "smoke: {seeds: [1, 2, 3], minutes: 0.01}")
    assert experiments.run("--dry-run") == 0
    told = capsys.readouterr().out
    assert re.search(r"old, seed 1\W+there\W+3 s", told)
    assert re.search(r"old, seed 3\W+missing\W+3 s", told)
    assert re.search(r"new, seed 1\W+missing\W+not measured", told)
    assert "about 0.1 minutes" in told
    assert "3 units that were never" in told
    assert "more than the 0.01 minutes" in told
    assert len(experiments.done()) == 2


def test_list_names_every_table_with_its_state(experiments, capsys):
    from medreg.cli.main import main

    experiments.run("--only", "old")
    capsys.readouterr()
    assert main(["table", "--experiments", str(experiments.root / "experiments")]) == 0
    told = capsys.readouterr().out
    assert "paper/two" in told
    assert "2 of 4" in told
    assert "gradirn/cardiac" in told
