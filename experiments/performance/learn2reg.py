"""The official evaluation script of Learn2Reg, run as it is from a checkout, beside `medreg evaluate learn2reg`."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.performance.inputs import Inputs
from experiments.performance.measurements import Row
from experiments.performance.session import OURS, Session
from experiments.performance.timing import Samples
from medreg.errors import ConfigError
from medreg.io.field_learn2reg import write_learn2reg_field
from medreg.io.image import write_image, write_labels

MODE, OFFICIAL = "process", "Learn2Reg script"
# by the number of pairs: imports weigh less in the second comparison
ITEMS = {1: "Learn2Reg metrics of a pair", 4: "Learn2Reg metrics of four pairs"}
MEMORY = "peak_mib"
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
    """Time both in processes of their own, imports and reading included, and compare the values.

    Raises:
        ConfigError: the checkout has no evaluation script.
    """
    assert session.settings.l2r is not None
    script = session.settings.l2r.resolve() / "evaluation" / "evaluation.py"
    if not script.is_file():
        raise ConfigError(
            f"--l2r {session.settings.l2r} has no evaluation/evaluation.py; give a checkout of L2R."
        )
    size = inputs.size.name
    for pairs, item in list(ITEMS.items())[: 1 if session.settings.quick else None]:
        if not session.measured.has(section, item, size, MODE):
            _compare(session, inputs, script, section=section, item=item, pairs=pairs)


def _compare(session: Session, inputs: Inputs, script: Path, *, section: str, item: str, pairs: int) -> None:
    """Add the rows of one comparison; the two take turns."""
    size = inputs.size.name
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_task(folder, inputs, pairs=pairs)
        theirs = [sys.executable, "-W", "ignore", "-c", _START, str(script), "-i", str(folder / "fields")]
        theirs += ["-d", str(folder), "-o", str(folder / "official.json"), "-c", str(folder / "config.json")]
        ours = [sys.executable, "-W", "ignore", "-m", "medreg.cli.main", "evaluate", "learn2reg", "--fresh"]
        ours += ["--fields", str(folder / "fields"), "--data", str(folder)]
        ours += ["--config", str(folder / "config.json"), "-o", str(folder / "ours.json")]
        rounds = [(_run(ours), _run(theirs)) for _ in range(1 if session.settings.quick or pairs > 1 else 3)]
        columns = zip((OURS, OFFICIAL), zip(*rounds, strict=True), strict=True)
        runs = {
            contender: np.array([(run.wall, run.cpu, run.mib) for run in column])
            for contender, column in columns
        }
        found = {contender: Samples(table[:, 0], table[:, 1]) for contender, table in runs.items()}
        rows = list(session.timing_rows(found, section=section, item=item, size=size, mode=MODE, versions={}))
        rows += [
            Row(section, item, size, contender, MODE, MEMORY, float(table[:, 2].max()))
            for contender, table in runs.items()
        ]
        rows += _value_rows(folder, section=section, item=item, size=size)
    session.measured.add(rows)
    for row in rows:
        if row.quantity in ("wall_s", "cpu_s", MEMORY, "difference"):
            session.say(f"  {row.item}: {row.contender}: {row.quantity} {row.value:.4g} {row.note}")


def write_task(folder: Path, inputs: Inputs, *, pairs: int = 1) -> None:
    """Write label maps, fields and configuration of pairs in Learn2Reg's layout; all pairs hold the same."""
    for name in ("imagesTr", "labelsTr", "fields"):
        (folder / name).mkdir()
    labels = inputs.fixed_labels
    for case, image in (("0001", inputs.fixed), ("0002", inputs.moving)):
        file = f"Bench_{case}_0000.nii.gz"
        write_image(folder / "imagesTr" / file, image[0, 0].cpu().numpy(), np.eye(4))
        write_labels(folder / "labelsTr" / file, labels[0, 0].cpu().numpy(), np.eye(4))
    field = folder / "fields" / "disp_0001_0000_0002_0000.nii.gz"
    write_learn2reg_field(field, inputs.displacement[0].cpu().numpy())
    listed = [{"fixed": "./imagesTr/Bench_0001_0000.nii.gz", "moving": "./imagesTr/Bench_0002_0000.nii.gz"}]
    for case in (f"{number:04d}" for number in range(3, pairs + 2)):
        for kind in ("imagesTr", "labelsTr"):
            (folder / kind / f"Bench_{case}_0000.nii.gz").hardlink_to(
                folder / kind / "Bench_0002_0000.nii.gz"
            )
        field.with_name(f"disp_0001_0000_{case}_0000.nii.gz").hardlink_to(field)
        listed.append(listed[0] | {"moving": f"./imagesTr/Bench_{case}_0000.nii.gz"})
    wanted = list(range(1, inputs.labels + 1))
    methods: list[dict[str, Any]] = [{"name": name, "metric": metric} for name, metric in METRICS.items()]
    for method in methods[1:]:
        method["labels"] = wanted
    config = {
        "task_name": "Bench",
        "evaluation_methods": methods,
        "expected_shape": [*inputs.size.shape, 3],
        "eval_pairs": listed,
    }
    (folder / "config.json").write_text(json.dumps(config))


# A process starts with the peak of the one that forked it, so a small one stands between.
_LAUNCH = """
import json, os, subprocess, sys, time
start = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=sys.stderr)
_, status, used = os.wait4(process.pid, 0)
wall, cpu = time.perf_counter() - start, used.ru_utime + used.ru_stime
print(json.dumps([os.waitstatus_to_exitcode(status), wall, cpu, used.ru_maxrss / 1024]))
"""


@dataclass(frozen=True)
class _Cost:
    """What a process took.

    Attributes:
        wall: seconds.
        cpu: seconds of all its threads, user and system.
        mib: peak of resident memory.
    """

    wall: float
    cpu: float
    mib: float


def _run(command: Sequence[str]) -> _Cost:
    """Run a command to its end.

    Raises:
        ConfigError: it failed.
    """
    words = [sys.executable, "-S", "-c", _LAUNCH, *command]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        code, wall, cpu, mib = json.loads(done.stdout)
        if code == 0:
            return _Cost(wall, cpu, mib)
    raise ConfigError(f"{command[-1]}: the evaluation failed: {done.stderr[-500:]}")


def _value_rows(folder: Path, *, section: str, item: str, size: str) -> list[Row]:
    """Largest difference of any value of any structure, metric by metric."""
    found = [json.loads((folder / f"{name}.json").read_text())["cases"] for name in ("official", "ours")]
    rows = []
    for metric in METRICS:
        one, other = (np.atleast_1d(next(iter(cases.values()))[metric]["detailed"]) for cases in found)
        worst = float(np.nanmax(np.abs(one.astype(float) - other.astype(float))))
        rows.append(
            Row(section, item, size, OFFICIAL, MODE, "difference", worst, note=f"largest in {metric}")
        )
    return rows
