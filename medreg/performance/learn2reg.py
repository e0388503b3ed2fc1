"""The official evaluation script of Learn2Reg, run as it is from a checkout, beside `medreg evaluate learn2reg`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medreg.errors import ConfigError
from medreg.io.field_learn2reg import write_learn2reg_field
from medreg.io.image import write_image, write_labels
from medreg.performance.inputs import Inputs
from medreg.performance.session import OURS, Session
from medreg.performance.table import Row
from medreg.performance.timing import Samples

ITEM, MODE, OFFICIAL = "Learn2Reg metrics of a pair", "process", "Learn2Reg script"
METRICS = {"LogJacDetStd": "sdlogj", "DSC": "dice", "HD95": "hd95"}
# Names that its imports want and its numbers do not depend on: a class that is only raised, and
# spellings that NumPy 2 has dropped.
_START = """
import sys, types, runpy, numpy
module, inner = types.ModuleType("evalutils"), types.ModuleType("evalutils.exceptions")
inner.ValidationError = type("ValidationError", (Exception,), {})
sys.modules.update({"evalutils": module, "evalutils.exceptions": inner})
numpy.NAN, numpy.Inf = numpy.nan, numpy.inf
script = sys.argv[1]
sys.path.insert(0, script.rsplit("/", 1)[0])
sys.argv = sys.argv[1:]
runpy.run_path(script, run_name="__main__")
"""


def compare_with_official(session: Session, inputs: Inputs, *, section: str) -> None:
    """Time both on one pair in processes of their own, imports and reading included, and compare the values.

    Raises:
        ConfigError: the checkout has no evaluation script.
    """
    size = inputs.size.name
    if session.table.has(section, ITEM, size, MODE):
        return
    assert session.settings.l2r is not None
    script = session.settings.l2r.resolve() / "evaluation" / "evaluation.py"
    if not script.is_file():
        raise ConfigError(
            f"--l2r {session.settings.l2r} has no evaluation/evaluation.py; give a checkout of L2R."
        )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_task(folder, inputs)
        theirs = [sys.executable, "-W", "ignore", "-c", _START, str(script), "-i", str(folder / "fields")]
        theirs += ["-d", str(folder), "-o", str(folder / "official.json"), "-c", str(folder / "config.json")]
        ours = [sys.executable, "-W", "ignore", "-m", "medreg.cli.main", "evaluate", "learn2reg", "--fresh"]
        ours += ["--fields", str(folder / "fields"), "--data", str(folder)]
        ours += ["--config", str(folder / "config.json"), "-o", str(folder / "ours.json")]
        found = {OURS: _run(ours, rounds=3), OFFICIAL: _run(theirs, rounds=1)}
        rows = list(session.timing_rows(found, section=section, item=ITEM, size=size, mode=MODE, versions={}))
        rows += _value_rows(folder, section=section, size=size)
    session.table.add(rows)
    for row in rows:
        if row.quantity in ("wall_s", "cpu_s", "difference"):
            session.say(f"  {row.contender}: {row.quantity} {row.value:.4g} {row.note}")


def write_task(folder: Path, inputs: Inputs) -> None:
    """Write label maps, field and configuration of one pair in Learn2Reg's layout."""
    labels = inputs.fixed_labels[0, 0].cpu().numpy()
    for name in ("imagesTr", "labelsTr", "fields"):
        (folder / name).mkdir()
    pair = {"fixed": "./imagesTr/Bench_0001_0000.nii.gz", "moving": "./imagesTr/Bench_0002_0000.nii.gz"}
    for path, image in zip(pair.values(), (inputs.fixed, inputs.moving), strict=True):
        write_image(folder / path, image[0, 0].cpu().numpy(), np.eye(4))
        write_labels(folder / path.replace("images", "labels"), labels, np.eye(4))
    field = inputs.displacement[0].cpu().numpy()
    write_learn2reg_field(folder / "fields" / "disp_0001_0000_0002_0000.nii.gz", field)
    wanted = list(range(1, inputs.labels + 1))
    methods: list[dict[str, Any]] = [{"name": name, "metric": metric} for name, metric in METRICS.items()]
    for method in methods[1:]:
        method["labels"] = wanted
    config = {
        "task_name": "Bench",
        "evaluation_methods": methods,
        "expected_shape": [*inputs.size.shape, 3],
        "eval_pairs": [pair],
    }
    (folder / "config.json").write_text(json.dumps(config))


def _run(command: Sequence[str], *, rounds: int) -> Samples:
    """Wall and CPU seconds of a command with its children."""
    rows = []
    for _ in range(rounds):
        wall, before = time.perf_counter(), os.times()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        after = os.times()
        if done.returncode:
            raise ConfigError(
                f"{command[-1]}: the evaluation ended with {done.returncode}: {(done.stderr or done.stdout)[-500:]}"
            )
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        rows.append((time.perf_counter() - wall, cpu))
    table = np.array(rows)
    return Samples(table[:, 0], table[:, 1])


def _value_rows(folder: Path, *, section: str, size: str) -> list[Row]:
    """Largest difference of any value of any structure, metric by metric."""
    found = [json.loads((folder / f"{name}.json").read_text())["cases"] for name in ("official", "ours")]
    rows = []
    for metric in METRICS:
        one, other = (np.atleast_1d(next(iter(cases.values()))[metric]["detailed"]) for cases in found)
        worst = float(np.nanmax(np.abs(one.astype(float) - other.astype(float))))
        rows.append(
            Row(section, ITEM, size, OFFICIAL, MODE, "difference", worst, note=f"largest in {metric}")
        )
    return rows
