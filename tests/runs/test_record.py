"""run.json says how a run ended, also when nobody foresaw the error."""

from __future__ import annotations

import json

import pytest

from medreg.runs.record import RunRecord, git_state


def read(folder):
    return json.loads((folder / "run.json").read_text())


def test_start_and_finish(tmp_path):
    record = RunRecord(tmp_path)
    record.start(overrides=("a=1",), seed=1)
    assert read(tmp_path)["status"] == "running"
    record.finish(objective=0.5)
    assert read(tmp_path)["status"] == "finished"
    again = RunRecord(tmp_path)
    again.start(overrides=("a=1",))
    assert len(read(tmp_path)["continued"]) == 1


def test_unforeseen_error_is_recorded_and_goes_on(tmp_path):
    with pytest.raises(ZeroDivisionError), RunRecord(tmp_path).watch():
        _ = 1 / 0
    assert read(tmp_path)["status"] == "failed"
    assert "ZeroDivisionError" in read(tmp_path)["error"]


def test_a_foreseen_failure_keeps_its_sentence(tmp_path):
    record = RunRecord(tmp_path)
    record.fail("interrupted", "Stopped by hand.")
    with pytest.raises(ZeroDivisionError), record.watch():
        _ = 1 / 0
    assert read(tmp_path)["error"] == "Stopped by hand."


def test_damaged_record_is_begun_anew(tmp_path):
    (tmp_path / "run.json").write_text('{"status": "fini')
    assert RunRecord(tmp_path).content == {}


def test_commit_of_this_checkout_is_known_or_said_to_be_unknown():
    state = git_state()
    assert state["commit"] is None or len(state["commit"]) == 40
