"""Benchmarks run, go on after a stop, survive workers that die or take too long, and report the right numbers."""

from __future__ import annotations

import io
import json
import threading
import time
from itertools import pairwise
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from scipy.ndimage import gaussian_filter

from medreg.baselines.tool import SCRIPTS, Environment, Tool
from medreg.cli.main import main
from medreg.config.command import BENCHMARK
from medreg.data.intensity import Intensity
from medreg.errors import ConfigError, DatasetNotFound, MissingExtra
from medreg.studies.benchmark import job as jobs
from medreg.studies.benchmark import judging
from medreg.studies.benchmark.cases import Preparation, TaskCases
from medreg.studies.benchmark.plan import Benchmark, Entry, MethodFolder
from medreg.studies.benchmark.registering import register_all, registered_before
from medreg.studies.learn2reg.runtime import COLUMNS
from medreg.study.job import Progress

SHAPE = (24, 20, 22)
WORKER = '''
"""A worker of the tests: shifts by a number of voxels, or misbehaves on the cases that the settings name."""
import os, signal, sys, time
import numpy as np
sys.path.insert(0, {scripts!r})
from serving import Answer, serve

def load():
    return register

def register(fixed, moving, settings):
    with open(settings["count"], "a") as stream:
        stream.write("x")
    print("chatter that must not reach the parent")
    field = np.zeros((*fixed.array.shape, 3), np.float32)
    field[..., 0] = settings["shift"]
    case = "-".join(str(round(10 * float(one.array[0, 0, 0]))) for one in (fixed, moving))
    what = settings["bad"].get(case, "")
    if what == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif what == "raise":
        raise RuntimeError("no overlap")
    elif what == "nan":
        field[0] = np.nan
    elif what == "sleep":
        time.sleep(60)
    return Answer(field, "voxel")

serve(load)
'''


def write_task(folder: Path) -> Path:
    """Three images with a box each: the box of case i+1 lies one voxel further along axis 0."""
    root = folder / "Boxes"
    names = []
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True)
    for k in range(3):
        label = np.zeros(SHAPE, np.uint8)
        label[6 + k : 14 + k, 5:14, 6:15] = 1
        label[8 + k : 11 + k, 8:11, 9:12] = 2
        names.append(f"Boxes_{k + 1:04d}_0000.nii.gz")
        nib.Nifti1Image(label, np.eye(4)).to_filename(root / "labelsTr" / names[-1])
        image = gaussian_filter((label > 0) * 50.0 + (label == 2) * 80.0, 1.0).astype(np.float32)
        image[0, 0, 0] = 0.1 * (k + 1) * np.percentile(image, 99.5)  # tells the stand-in which image it is
        nib.Nifti1Image(image, np.eye(4)).to_filename(root / "imagesTr" / names[-1])
    paths = [f"./imagesTr/{name}" for name in names]
    content = {
        "name": "Boxes",
        "registration_direction": {"fixed": 0, "moving": 0},
        "labels": {"0": {"0": "background", "1": "shell", "2": "core"}},
        "tensorImageShape": {"0": list(SHAPE)},
        "provided_data": {"0": ["image", "label"]},
        "pairings": "unpaired",
        "training": [{"image": path, "label": path.replace("images", "labels")} for path in paths],
        "registration_val": [{"fixed": f, "moving": m} for f, m in pairwise(paths)],
    }
    (root / "Boxes_dataset.json").write_text(json.dumps(content))
    return root


@pytest.fixture
def task(tmp_path) -> Path:
    return write_task(tmp_path)


def options(task: Path, *more: str) -> list[str]:
    """The brain benchmark turned to the boxes."""
    return [
        "benchmark=brain_phantom",
        f"data.root={task}",
        "data.task=Boxes",
        "data.generate=null",
        f"out={task.parent / 'out'}",
        "name=boxes",
        "threads=1",
        "pictures=1",
        *more,
    ]


def run(cfg) -> tuple[Path, str]:
    console = Console(file=io.StringIO(), width=200)
    return jobs.run_benchmark(cfg, console=console), console.file.getvalue()


def stand_in(
    folder: Path, *, shift: float = 1.0, bad: dict[str, str] | None = None, timeout_s: float = 60
) -> Tool:
    """A tool whose worker is ours: a known field, and misbehaviour on some cases, "fixed-moving" by number."""
    script = folder / "stand_in.py"
    script.write_text(WORKER.format(scripts=str(SCRIPTS)))
    environment = Environment("MEDREG_ENV_STAND_IN", True, ["pip install stand-in"])
    settings = {"shift": shift, "bad": bad or {}, "count": str(folder / "count")}
    return Tool(
        title="stand-in", source="test", distribution="numpy", script=str(script), settings=settings,
        environment=environment, timeout_s=timeout_s, threads=1,
    )  # fmt: skip


def work(task: Path, tool: Tool) -> tuple[Benchmark, Entry]:
    """A method on all ordered pairs, built by hand: composing it by options is tested elsewhere."""
    intensity = Intensity(percentiles=(0.0, 99.5), window=None, scope="volume")
    cases = TaskCases(
        task, task="Boxes", split="val", pairs="all", labels=None, points=None, masked=None, config=None,
        limit=None, generate=None, prepare=Preparation(intensity, foreground=False, mask="none"), hint="",
    )  # fmt: skip
    folder, config = cases.evaluation()
    entry = Entry("stand_in", tool, MethodFolder(task.parent / "stand_in"))
    return Benchmark("boxes", task.parent, folder, cases, config, (entry,), {}), entry


# -- from the command line to the report ---------------------------------------------------------------


SMALL_MODEL = (
    "['model=optimise','similarity=ssd','regularisation=diffusion','regularisation.weight=0.05',"
    "'model.levels=[{shrink: 1, sigma: 0.0, iterations: 25, learning_rate: 0.2}]']"
)
REAL = (
    "method=[identity,optimise]",
    f"methods.optimise.overrides={SMALL_MODEL}",
    "methods.optimise.warm_up=false",
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A benchmark that has run to its end: task, page, what was printed."""
    task = write_task(tmp_path_factory.mktemp("finished"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judging, "DRAWS", 20)  # of 1000: draws are tested with the ranking
        yield task, *run(BENCHMARK.compose(options(task, *REAL)))


def test_report_holds_the_right_numbers(finished):
    task, page, printed = finished
    out = page.parent
    results = pd.read_csv(out / "results.csv")
    dice = results[results["metric"] == "dice"].groupby("method")["value"].mean()
    fixed, moving = (
        np.asarray(nib.load(task / f"labelsTr/Boxes_000{k}_0000.nii.gz").dataobj) for k in (1, 2)
    )
    expected = [
        2 * ((fixed == c) & (moving == c)).sum() / ((fixed == c).sum() + (moving == c).sum()) for c in (1, 2)
    ]
    assert expected[1] == pytest.approx(2 / 3)  # cores of three layers, one layer apart
    assert dice["identity"] == pytest.approx(np.mean(expected))
    assert dice["optimise"] > 0.95
    text = (out / "tables" / "tables.md").read_text()
    assert f"{np.mean(expected):.3f}" in text
    assert "medreg optimise" in text
    assert "medreg optimise" in printed
    assert r"\begin{tabular}" in (out / "tables" / "tables.tex").read_text()
    assert (out / "tables" / "tables.csv").read_text().startswith("method")
    html = page.read_text()
    assert html.count("<img") >= 3
    assert 'src="http' not in html
    for name in ("ranking.png", "boxes.png", "case_0001_0000_0002_0000.png"):
        assert (out / "figures" / name).stat().st_size > 5000
    times = pd.read_csv(out / "optimise" / "runtime.csv")
    assert tuple(times.columns) == COLUMNS
    assert list(times["case"]) == ["0001_0000<--0002_0000", "0002_0000<--0003_0000"]
    assert (times[["seconds", "cpu_seconds", "peak_memory_mib"]] > 0).all().all()


def test_the_same_command_runs_nothing_again(finished):
    task, page, _ = finished
    fields = sorted((page.parent / "optimise" / "fields").iterdir())
    before = [file.stat().st_mtime_ns for file in fields]
    (page.parent / "report.html").unlink()
    run(BENCHMARK.compose([*options(task, *REAL), "pictures=0"]))
    assert [file.stat().st_mtime_ns for file in fields] == before
    assert page.is_file()


def test_ranks_of_the_challenge_read_the_folders(finished, capsys):
    _, page, _ = finished
    folders = [str(page.parent / name) for name in ("identity", "optimise")]
    assert main(["rank", *folders, "--bootstrap", "0"]) == 0
    assert "optimise" in capsys.readouterr().out


# -- workers that fail -----------------------------------------------------------------------------------


def test_workers_that_fail_cost_their_cases_only(task):
    bad = {"1-2": "crash", "1-3": "raise", "2-1": "nan", "2-3": "sleep"}
    benchmark, entry = work(task, stand_in(task.parent, bad=bad, timeout_s=1.5))
    outcomes = register_all(benchmark, entry)
    failed = {one.key["case"].replace("_0000", ""): one.error for one in outcomes if one.failed}
    told = {
        "0001<--0002": "SIGSEGV",
        "0001<--0003": "no overlap",
        "0002<--0001": "NaN",
        "0002<--0003": "timeout_s",
    }
    assert set(failed) == set(told)
    for case, word in told.items():
        assert word in failed[case]
    assert len(list(entry.folder.fields.iterdir())) == 2
    assert len(pd.read_csv(entry.folder.path / "runtime.csv")) == 2


def test_failures_are_kept_until_retry(task):
    count = task.parent / "count"
    benchmark, entry = work(task, stand_in(task.parent, bad={"1-2": "nan", "2-1": "nan"}))
    register_all(benchmark, entry)
    assert count.read_text() == "x" * 6
    register_all(benchmark, entry)
    assert count.read_text() == "x" * 6
    register_all(benchmark, entry, retry=True)
    assert count.read_text() == "x" * 8


def test_changed_settings_or_images_run_again(task):
    count = task.parent / "count"
    benchmark, entry = work(task, stand_in(task.parent))
    register_all(benchmark, entry)
    benchmark, entry = work(task, stand_in(task.parent, shift=2.0))
    register_all(benchmark, entry)
    assert count.read_text() == "x" * 12
    file = task / "imagesTr" / "Boxes_0003_0000.nii.gz"
    image = np.asarray(nib.load(file).dataobj).copy()
    image[0, 0, 1] += 1
    nib.Nifti1Image(image, np.eye(4)).to_filename(file)
    register_all(benchmark, entry)
    assert count.read_text() == "x" * 16  # four of six ordered pairs have case 3
    register_all(benchmark, entry, again=True)
    assert count.read_text() == "x" * 22
    entry.folder.field(benchmark.config.pairs[0]).unlink()
    register_all(benchmark, entry)
    assert count.read_text() == "x" * 23


def test_images_that_cannot_be_used_cost_their_cases_until_they_are_mended(task):
    count, file = task.parent / "count", task / "imagesTr" / "Boxes_0003_0000.nii.gz"
    content = file.read_bytes()
    file.write_bytes(content[:200])
    benchmark, entry = work(task, stand_in(task.parent))
    failed = [one for one in register_all(benchmark, entry) if one.failed]
    assert len(failed) == 4
    assert all("its images cannot be used" in one.error for one in failed)
    file.unlink()
    assert sum(one.failed for one in register_all(benchmark, entry)) == 4
    file.write_bytes(content)
    assert not any(one.failed for one in register_all(benchmark, entry))  # another image: no retry is needed
    assert count.read_text() == "x" * 6


def test_a_report_takes_what_is_there_whatever_made_it(task):
    benchmark, entry = work(task, stand_in(task.parent, bad={"1-2": "nan"}))
    register_all(benchmark, entry)
    benchmark, entry = work(task, stand_in(task.parent, shift=2.0))
    outcomes = registered_before(benchmark, entry)
    assert [one.failed for one in outcomes] == [True, *[False] * 5]
    assert (task.parent / "count").read_text() == "x" * 6


def test_two_workers_do_the_same(task):
    benchmark, entry = work(task, stand_in(task.parent))
    pairs = benchmark.config.pairs
    outcomes = register_all(benchmark, entry, workers=2)
    assert [one.key["case"] for one in outcomes] == [pair.case for pair in pairs]
    assert not any(one.failed for one in outcomes)
    field = np.asarray(nib.load(entry.folder.fields / "disp_0001_0002.nii.gz").dataobj)
    assert field.shape == (*SHAPE, 3)
    assert (field[..., 0] == 1).all()


def test_interrupted_work_notes_no_failure(task):
    """An error in the parent, as Ctrl-C is, ends the workers; what they were doing is no failed case."""
    benchmark, entry = work(task, stand_in(task.parent, bad={"2-1": "sleep", "2-3": "sleep", "3-1": "sleep"}))

    def stop(progress: Progress) -> None:
        if progress.done == 2:
            raise KeyboardInterrupt

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        register_all(benchmark, entry, workers=2, tell=stop)
    assert time.monotonic() - start < 20
    assert threading.active_count() < 20
    kept = registered_before(benchmark, entry)
    assert len(kept) >= 2
    assert not any(one.failed for one in kept)


# -- what is missing -------------------------------------------------------------------------------------


def test_missing_tool_names_its_recipe(task, monkeypatch):
    monkeypatch.delenv("MEDREG_ENV_GREEDY", raising=False)
    with pytest.raises(MissingExtra, match=r"pip install picsl_greedy") as found:
        jobs.prepare(BENCHMARK.compose(options(task, "method=[identity,greedy]")))
    assert "missing=skip" in str(found.value)
    benchmark = jobs.prepare(BENCHMARK.compose(options(task, "method=[identity,greedy]", "missing=skip")))
    assert [entry.name for entry in benchmark.entries] == ["identity"]
    assert set(benchmark.left_out) == {"greedy"}


def test_missing_extra_names_the_install_line(task, monkeypatch):
    monkeypatch.delenv("MEDREG_ENV_CONVEXADAM", raising=False)
    import importlib.util

    if importlib.util.find_spec("convexAdam"):
        pytest.skip("convexAdam is installed here")
    with pytest.raises(MissingExtra, match=r"pip install 'medreg\[baselines\]'"):
        jobs.prepare(BENCHMARK.compose(options(task, "method=[convexadam]")))


def test_no_data_says_what_to_do(tmp_path):
    cfg = BENCHMARK.compose(["benchmark=learn2reg_hippocampus", f"data.root={tmp_path}", "method=[identity]"])
    with pytest.raises(DatasetNotFound, match="arrange_samples"):
        jobs.prepare(cfg)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("benchmark=brain_fantom", "brain_phantom"),
        ("method=[gredy]", "greedy"),
        ("methods.optimise.timeouts=3", "timeout_s"),
        ("workrs=2", "workers"),
    ],
)
def test_misspelling_is_answered(override, told):
    with pytest.raises(ConfigError, match=told):
        BENCHMARK.compose([override])


@pytest.mark.parametrize("name", ["brain_phantom", "learn2reg_hippocampus", "learn2reg_oasis", "lung_ct"])
def test_every_benchmark_composes(name, tmp_path):
    cfg = BENCHMARK.compose([f"benchmark={name}", "missing=skip"])
    assert {"identity", "optimise"} <= set(jobs.methods_of(cfg))


def test_environments_are_printed(capsys):
    assert main(["benchmark", "--environments"]) == 0
    printed = capsys.readouterr().out
    for line in ("pip install antspyx==0.6.3", "MEDREG_ENV_FIREANTS", "unigradicon"):
        assert line in printed
