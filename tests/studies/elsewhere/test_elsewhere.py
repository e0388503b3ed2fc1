"""One trained run on several data sets by one command: runs of their own, one table, and what is refused."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from small_run import trained

from medreg.errors import ConfigError
from medreg.studies.elsewhere.jobs import data_jobs
from medreg.studies.elsewhere.running import evaluate_elsewhere, folder_of_tables

TINY = (
    "data.dataset.prepare.subjects=4", "data.dataset.prepare.testing=1", "data.dataset.prepare.frames=2",
    "data.dataset.prepare.slices=[2,2]", "data.dataset.prepare.size=[48,48]", "data.preprocess.size=[48,48]",
    "data.split.val=0.34", "data.loader.repeat=1", "pictures=0", "report=false",
)  # fmt: skip
NET = (
    "model=unet",
    "model.channels=[4,8]",
    "model.strides=[2]",
    "model.num_res_units=1",
    "trainer.max_epochs=1",
)
PHANTOM, SHIFTED = "cardiac_phantom_segmentation", "cardiac_phantom_segmentation_shifted"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a trained run in `outputs`; caches lie there, too."""
    return tmp_path_factory.mktemp("elsewhere")


@pytest.fixture(scope="module")
def run(place):
    cache = f"paths.cache={place / 'cache'}"
    return trained(place, [f"data={PHANTOM}", *NET, *TINY, cache])


def evaluate(place, run, *words):
    """`medreg evaluate` in a folder; its exit code and what it says."""
    from medreg.cli.main import main

    said, before, threads = io.StringIO(), Path.cwd(), torch.get_num_threads()
    arguments = list(sys.argv)
    torch.set_num_threads(1)
    os.chdir(place)
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = main(["evaluate", str(run), *words, *TINY, f"paths.cache={place / 'cache'}"])
    finally:
        os.chdir(before)
        torch.set_num_threads(threads)
        sys.argv[:] = arguments
        GlobalHydra.instance().clear()
        logging.getLogger().handlers.clear()
    return code, said.getvalue()


def test_one_command_and_one_table_of_data_sets_and_structures(place, run):
    pytest.importorskip("torchio", reason="corrupted images need TorchIO: pip install 'medreg[corruption]'")
    corrupted = "cardiac_phantom_corrupted"
    words = [f"data={PHANTOM},{SHIFTED},{corrupted}", f"{corrupted}:data.corruption.copies=2", "-o", "tables"]
    code, said = evaluate(place, run, *words)
    assert code == 0, said
    table = (place / "tables" / "table.md").read_text()
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    assert lines[0] == "| data | cases | LV | MYO | RV | mean |"
    names = [line.split("|")[1].strip() for line in lines[2:]]
    kinds = ("motion", "spike", "ghosting", "bias")
    assert names == [PHANTOM, SHIFTED, corrupted, *(f"{corrupted}, {kind}" for kind in kinds)]
    assert [line.split("|")[2].strip() for line in lines[2:]] == ["2", "2", "16", "4", "4", "4", "4"]
    assert table.startswith(f"**{run.name}: Dice")
    rows = pd.read_csv(place / "tables" / "table.csv", keep_default_na=False)
    assert {"dice", "hd95_mm"} <= set(rows["metric"])
    folders = sorted(set(rows["folder"]))
    assert len(folders) == 3
    own = pd.read_csv(place / rows[rows["label"] == SHIFTED]["folder"].iloc[0] / "results.csv")
    dice = own[(own["metric"] == "dice") & (own["structure"] == "LV")]["value"].mean()
    cell = rows[(rows["label"] == SHIFTED) & (rows["metric"] == "dice") & (rows["structure"] == "LV")]
    assert float(cell["mean"].iloc[0]) == pytest.approx(dice)


def test_options_that_vary_make_rows_and_a_data_set_that_fails_leaves_the_others(place, run):
    words = [f"data={PHANTOM},{SHIFTED}", "data.slices.evaluate=all,[0.5]", "--metric", "assd_mm"]
    words.append(f"{SHIFTED}:data.dataset.prepare.noise=-1")
    code, said = evaluate(place, run, *words)
    assert code == 1
    table = next((place / "outputs" / "evaluations").glob("*/table.md")).read_text()
    assert f"| {PHANTOM}, evaluate=all | 2 |" in table
    assert f"| {PHANTOM}, evaluate=[0.5] | 2 |" in table
    assert "ASSD" in table
    assert f"{SHIFTED}, evaluate=all: " in table
    assert "data.dataset.prepare.noise is negative" in said


def test_a_data_set_that_is_not_named_and_options_of_the_command_are_refused(run):
    for words, message in (
        ([], r"On which data\? .*data=acdc_segmentation,mnms_segmentation"),
        (["data=acdc_segmentation", "mode=fit"], "mode=…: .* sets it itself"),
        (
            ["data=acdc_segmentation", "mnms:data.ndim=2"],
            r"mnms:… .*data= does not name \(acdc_segmentation\)",
        ),
        (["data=acdc_segmentation", "data.split.val=interval(0,1)"], "name the values"),
        (["data=acdc_segmentatio"], "acdc_segmentation"),
    ):
        with pytest.raises(ConfigError, match=message):
            data_jobs(run, words)


def test_tables_lie_beside_the_runs(run, tmp_path):
    jobs = data_jobs(run, [f"data={PHANTOM}", f"paths.outputs={tmp_path}"])
    assert folder_of_tables(run, jobs).parent == tmp_path / "evaluations"


def test_fields_are_of_learn2reg_alone(place, run):
    code, said = evaluate(place, run, f"data={PHANTOM}", "--fields", "x")
    assert code == 1
    assert "--fields and --data are those of `medreg evaluate learn2reg`" in said
    code, said = evaluate(place, "learn2reg")
    assert code == 1
    assert "needs --fields DIR_OR_ZIP and --data TASK_FOLDER" in said


def test_several_strengths_of_corruption_are_a_figure(tmp_path, monkeypatch):
    from medreg.studies.elsewhere import running

    monkeypatch.setattr(running, "is_finished", lambda folder: True)
    jobs = []
    for strength in (0.0, 1.0):
        folder = tmp_path / f"strength{strength:g}"
        folder.mkdir()
        cells = f"run,net,hearts,test,p1_ED_motion_1,net,mean,dice,{0.9 - 0.2 * strength},1"
        header = "run,model,data,split,case,method,structure,metric,value,unit"
        (folder / "results.csv").write_text(f"{header}\n{cells}\n")
        (folder / "config.yaml").write_text(
            f"data: {{corruption: {{strength: {strength}, kinds: {{motion: {{}}}}}}}}"
        )
        jobs.append(SimpleNamespace(folder=folder))
    running._draw_curves(jobs[:1], ["dice"], tmp_path / "one")
    assert not (tmp_path / "one").exists()
    running._draw_curves(jobs, ["dice", "hd95_mm"], tmp_path / "two")
    assert [file.name for file in (tmp_path / "two").iterdir()] == ["robustness_dice.png"]


def test_a_misspelt_metric_is_refused_before_anything_is_tested(tmp_path):
    def start(words):
        raise AssertionError("nothing may start")

    with pytest.raises(ConfigError, match=r"--metric dcie: no such metric\. Did you mean .dice."):
        evaluate_elsewhere(tmp_path, ["data=acdc_segmentation"], start, metrics=["dcie"])
