"""The store of a study: whole outcomes only, whoever writes, whatever ends the writer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from medreg.errors import DataError
from medreg.study.store import Store
from medreg.study.unit import Outcome, Unit
from medreg.study.view import write_csv

REPOSITORY = Path(__file__).resolve().parents[2]


def outcome(number: int, digest: str = "a", **values: object) -> Outcome:
    return Outcome({"n": number}, digest, ({"value": number, **values},))


def unit(number: int, digest: str = "a", *files: Path) -> Unit:
    return Unit({"n": number}, digest, files)


def start(code: str, *words: object) -> subprocess.Popen[str]:
    """Run Python code that finds `file` and the store's names, in another process."""
    head = "import sys, os\nfrom pathlib import Path\nfrom medreg.study.store import Store\n"
    head += "from medreg.study.unit import Outcome\nfile = Path(sys.argv[1])\n"
    path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-c", head + code, *map(str, words)],
        env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_what_was_added_is_there_for_the_next_process(tmp_path):
    file = tmp_path / "study.jsonl"
    store = Store(file)
    store.add(Outcome({"b": 1, "a": "x"}, "d", ({"v": 1.5, "n": None},), cost={"seconds": 2.0}))
    found = Store(file).get(Unit({"a": "x", "b": 1}, "d"))  # whatever the order of the key
    assert found is not None
    assert found.rows == [{"v": 1.5, "n": None}]
    assert found.cost == {"seconds": 2.0}
    assert Store(file).get(Unit({"a": "x", "b": 2}, "d")) is None
    assert len(store) == 1


def test_numbers_of_numpy_and_torch_are_plain_and_nan_comes_back(tmp_path):
    store = Store(tmp_path / "study.jsonl")
    store.add(outcome(1, f=np.float32(0.5), i=np.int64(3), t=torch.tensor(2.0), p=tmp_path, nan=float("nan")))
    row = Store(store.file).get(unit(1)).rows[0]
    assert (row["f"], row["i"], row["t"], row["p"]) == (0.5, 3, 2.0, str(tmp_path))
    assert np.isnan(row["nan"])


def test_a_stale_unit_is_missing_but_known(tmp_path):
    store = Store(tmp_path / "study.jsonl")
    store.add(outcome(1, "old"))
    store.add(outcome(2, "new"))
    units = [unit(1, "new"), unit(2, "new"), unit(3, "new")]
    assert [store.get(one) is not None for one in units] == [False, True, False]
    assert store.any(units[0]).digest == "old"
    assert store.stale(units) == units[:1]
    assert store.frame(units)["n"].tolist() == [2]
    assert store.frame()["n"].tolist() == [1, 2]
    store.add(outcome(1, "new", extra=1))  # the last line counts
    assert store.get(units[0]).rows[0]["extra"] == 1
    assert len(store) == 2


def test_a_unit_without_its_files_is_missing(tmp_path):
    store, file = Store(tmp_path / "study.jsonl"), tmp_path / "field.nii"
    store.add(outcome(1))
    assert store.get(unit(1, "a", file)) is None
    file.touch()
    assert store.get(unit(1, "a", file)) is not None
    store.add(Outcome({"n": 2}, "a", state="failed", error="why"))
    assert store.get(unit(2, "a", tmp_path / "none")).error == "why"  # a failure has no files


@pytest.mark.parametrize("cut", [1, 20, -2, -1])
def test_a_line_that_was_cut_costs_its_unit_only(tmp_path, cut):
    """A process that dies in the middle of an append leaves the first bytes of a line."""
    file = tmp_path / "study.jsonl"
    whole = Store(tmp_path / "other.jsonl")
    whole.add(outcome(2))
    line = whole.file.read_bytes()
    Store(file).add(outcome(1))
    with file.open("ab") as stream:
        stream.write(line[:cut])
    store = Store(file)
    assert [found.key["n"] for found in store] == [1]
    store.add(outcome(3))
    numbers = {found.key["n"] for found in Store(file)}
    assert {1, 3} <= numbers <= {1, 2, 3}
    assert (2 in numbers) == (cut == -1)  # a line that lacks its end alone is whole


@pytest.mark.parametrize("line", ["[1, 2]", '"text"', '{"key": {}}', '{"key": 3, "digest": ""}', "\\xff", ""])
def test_lines_that_are_no_outcomes_are_passed_over(tmp_path, line):
    file = tmp_path / "study.jsonl"
    file.write_bytes(line.encode("latin-1").replace(b"\\xff", b"\xff") + b"\n")
    store = Store(file)
    assert len(store) == 0
    store.add(outcome(1))
    assert len(Store(file)) == 1


def test_several_processes_lose_nothing(tmp_path):
    file = tmp_path / "study.jsonl"
    code = "store = Store(file)\nfor k in range(20):\n"
    code += "    store.add(Outcome({'who': sys.argv[2], 'n': k}, '', ({'text': 'ä' * 3000},)))"
    writers = [start(code, file, who) for who in "abc"]
    seen = Store(file)
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    seen.refresh()
    assert len(seen) == len(Store(file)) == 60
    assert all(json.loads(line) for line in file.read_text().splitlines())


def test_killed_while_it_appends(tmp_path):
    """Killed at some moment, a writer leaves whole outcomes; the next one goes on after them."""
    file = tmp_path / "study.jsonl"
    code = "store = Store(file)\nfor k in range(100000):\n    store.add(Outcome({'n': k}, '', ({'t': 'x' * 20000},)))"
    writer = start(code, file)
    deadline = time.monotonic() + 60
    while (not file.is_file() or file.stat().st_size < 60_000) and time.monotonic() < deadline:
        time.sleep(0.01)
    writer.send_signal(signal.SIGKILL)
    writer.wait(10)
    store = Store(file)
    numbers = [found.key["n"] for found in store]
    assert len(numbers) >= 2
    assert numbers == list(range(len(numbers)))
    store.add(outcome(-1))  # the lock of the dead is free
    assert len(Store(file)) == len(numbers) + 1


def test_a_full_disk_is_told_and_what_was_there_stays(tmp_path):
    """A limit on the size of files writes a part of the line and then refuses, as a full disk does."""
    file = tmp_path / "study.jsonl"
    Store(file).add(outcome(1))
    code = """
import resource
from medreg.errors import DataError
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
try:
    Store(file).add(Outcome({"n": 2}, "a", ({"t": "x" * 9000},)))
except DataError as error:
    print(error)
"""
    writer = start(code, file)
    told, _ = writer.communicate(timeout=60)
    assert "study.jsonl cannot be written" in told
    assert file.read_bytes().endswith(b"}\n")  # the part is gone
    Store(file).add(outcome(3))
    assert [found.key["n"] for found in Store(file)] == [1, 3]


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "study.jsonl").mkdir()
    with pytest.raises((DataError, IsADirectoryError), match=r"study\.jsonl"):
        Store(tmp_path / "study.jsonl").add(outcome(1))


def test_compact_keeps_the_last_and_what_is_wanted(tmp_path):
    one = Store(tmp_path / "study.jsonl")
    assert one.compact() == 0
    for number, digest in ((1, "old"), (1, "new"), (2, "old"), (3, "new")):
        one.add(outcome(number, digest))
    two = Store(one.file)
    assert one.compact(lambda found: found.digest == "new") == 1
    assert len(one.file.read_text().splitlines()) == 2
    one.add(outcome(4, "new", text="x" * 1000))  # larger than before: only the new file tells
    two.refresh()
    assert [found.key["n"] for found in two] == [1, 3, 4]
    one.file.unlink()
    two.refresh()
    assert len(two) == 0


def test_rows_speak_before_the_key_and_views_have_their_columns(tmp_path):
    store = Store(tmp_path / "study.jsonl")
    store.add(Outcome({"measure": "b", "n": 1}, "", ({"measure": "a", "x": 1.23456}, {"x": 2.0})))
    assert store.frame()["measure"].tolist() == ["a", "b"]
    file = write_csv(store.frame(), tmp_path / "new" / "view.csv", columns=("x", "measure", "y"), digits=3)
    assert file.read_text() == "x,measure,y\n1.23,a,\n2,b,\n"
    assert [one.name for one in file.parent.iterdir()] == ["view.csv"]
    with pytest.raises(DataError, match="cannot be written"):
        write_csv(store.frame(), file / "below.csv")
