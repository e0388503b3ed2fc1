"""Submissions: the form of each edition, what the check finds, resuming, and the way back through the evaluation."""

from __future__ import annotations

import subprocess
import sys
import zipfile

import numpy as np
import pandas as pd
import pytest
from tiny_task import PAIRS, SHAPE, SHIFT, identity_run, tiny_task

from medreg.cli.main import main
from medreg.data.datasets.learn2reg_config import read_config
from medreg.errors import ConfigError, DataError
from medreg.io.field_learn2reg import write_learn2reg_field
from medreg.studies.learn2reg.evaluate import evaluate
from medreg.studies.learn2reg.fields import FieldSource
from medreg.studies.learn2reg.submission import make_fields, pack
from medreg.studies.learn2reg.submission_check import check_submission
from medreg.studies.learn2reg.submission_format import Form
from medreg.studies.learn2reg.submission_tasks import known_tasks, public_config
from medreg.studies.learn2reg.truth import TaskFolder
from medreg.study.store import Store

FORM = Form("Tiny", 2022, "float32", None)


class Constant:
    """A maker whose fields shift by `SHIFT` voxels; `bad` cases fail, calls are counted."""

    def __init__(self, *, bad=(), value=SHIFT, shape=SHAPE):
        self.cost = {"version": "v", "hardware": "h", "threads": 1}
        self.bad, self.value, self.shape, self.calls = bad, value, shape, []

    def digest(self, pair):
        return f"{self.value}"

    def warm_up(self, pair):
        self.calls.append("warm")

    def make(self, pair):
        self.calls.append(pair.fixed_case)
        if pair.fixed_case in self.bad:
            raise DataError("the image is damaged")
        field = np.zeros((3, *self.shape), dtype=np.float32)
        field[0] = self.value
        return field


@pytest.fixture
def task(tmp_path):
    return tiny_task(tmp_path / "data")


@pytest.fixture
def config(task):
    return TaskFolder(task).config()


def made(folder, config, *, form=FORM, maker=None):
    return make_fields(maker or Constant(), config, form, folder, tell=lambda *_: None)


def zipped(tmp_path, files, *, name="x.zip"):
    """A zip of arrays (`.npz`), NIfTI fields or texts."""
    path = tmp_path / name
    with zipfile.ZipFile(path, "w") as archive:
        for inside, content in files.items():
            if isinstance(content, str):
                archive.writestr(inside, content)
                continue
            part = tmp_path / inside.replace("/", "_")
            if inside.endswith(".npz"):
                np.savez_compressed(part, *(content if isinstance(content, list) else [content]))
            else:
                write_learn2reg_field(part, np.moveaxis(content, -1, 0))
            archive.write(part, inside)
    return path


def smooth(shape=SHAPE):
    x, y, z = (2 * np.pi * axis / size for axis, size in zip(np.indices(shape), shape, strict=True))
    return np.stack([3 * np.sin(x) * np.cos(y), 2 * np.cos(y + z), np.sin(z) * 2.5], axis=-1)


# -- forms --------------------------------------------------------------------------------------------


def test_a_zip_of_today_is_one_folder_of_nifti_fields(tmp_path, config):
    made(tmp_path / "out", config)
    pack(tmp_path / "out", tmp_path / "out.zip", config, FORM)
    assert zipfile.ZipFile(tmp_path / "out.zip").namelist() == [f"Tiny/disp_{f}_{m}.nii.gz" for f, m in PAIRS]
    source = FieldSource(tmp_path / "out.zip")
    values = source.read(source.find(config.pairs[0]), SHAPE).values
    assert values.shape == (*SHAPE, 3)
    assert (values[..., 0] == SHIFT).all()
    assert not values[..., 1:].any()


def test_the_form_of_2021_is_half_resolution_with_whole_values(tmp_path, config):
    """C2: (3, X/2, Y/2, Z/2) float16, values not halved; a smooth field of 3 voxels is read back within 0.15."""
    form = Form("OASIS", 2021, "float32", None)
    maker = Constant()
    maker.make = lambda pair: np.moveaxis(smooth(), -1, 0)
    made(tmp_path / "out", config, form=form, maker=maker)
    pack(tmp_path / "out", tmp_path / "out.zip", config, form)
    names = zipfile.ZipFile(tmp_path / "out.zip").namelist()
    assert names == [f"task_03/disp_{f}_{m}.npz" for f, m in PAIRS]
    array = np.load(tmp_path / "out" / "disp_0001_0002.npz")["arr_0"]
    assert (array.dtype, array.shape) == (np.float16, (3, *(size // 2 for size in SHAPE)))
    assert array[0].max() == pytest.approx(3, abs=0.2)
    source = FieldSource(tmp_path / "out.zip")
    inner = (slice(2, -2),) * 3
    error = np.abs(source.read(source.find(config.pairs[0]), SHAPE).values - smooth())[inner]
    assert error.max() < 0.15
    assert error.mean() < 0.05


def test_float16_of_today_is_npz_and_small_tasks_of_2020_are_whole(tmp_path, config):
    made(tmp_path / "a", config, form=Form("Tiny", 2022, "float16", "both"))
    stored = np.load(tmp_path / "a" / "disp_0001_0000_0002_0000.npz")
    assert stored[stored.files[0]].shape == (*SHAPE, 3)
    assert stored[stored.files[0]].dtype == np.float16
    assert (tmp_path / "a" / "disp_0001_0002.npz").is_file()
    small = Form("HippocampusMR", 2020, "float32", None)
    made(tmp_path / "b", config, form=small)
    assert np.load(tmp_path / "b" / "disp_0001_0002.npz")["arr_0"].shape == (3, *SHAPE)
    assert small.folder == "task_04"


def test_impossible_forms(tmp_path):
    with pytest.raises(ConfigError, match=r"OASIS was not part of the edition 2020, which had"):
        Form("OASIS", 2020, "float32", None)
    with pytest.raises(ConfigError, match="--edition is 2019; choose 2020, 2021 or 2022"):
        Form("OASIS", 2019, "float32", None)
    with pytest.raises(ConfigError, match="--dtype is 'int8'"):
        Form("OASIS", 2022, "int8", None)


def test_public_tasks_are_those_of_the_official_configs(shared_descriptors):
    checked = 0
    for file in sorted((shared_descriptors / "evaluation_configs").glob("*_evaluation_config.json")):
        official = read_config(file)
        split = "test" if "TEST" in file.name else "val"
        if official.name in known_tasks() and "v0.2" not in file.name:
            ours = public_config(official.name, split=split)
            assert ours.shape == official.shape
            assert [pair.case for pair in ours.pairs] == [pair.case for pair in official.pairs]
            checked += 1
    assert checked >= 6


# -- making -------------------------------------------------------------------------------------------


def test_a_stopped_submission_goes_on(tmp_path, config):
    first = Constant(bad=("0002",))
    result = made(tmp_path / "out", config, maker=first)
    assert first.calls == ["warm", "0001", "0002"]
    assert result.failures == {"0002_0000<--0003_0000": "the image is damaged"}
    second = Constant()
    result = made(tmp_path / "out", config, maker=second)
    assert (result.made, result.found, second.calls) == (1, 1, ["warm", "0002"])
    times = pd.read_csv(tmp_path / "out" / "runtime.csv")
    assert list(times["case"]) == [pair.case for pair in config.pairs]
    assert (times["seconds"] > 0).all()
    other = Constant(value=1)
    assert made(tmp_path / "out", config, maker=other).made == 2  # other weights: all again


def test_nothing_is_overwritten(tmp_path, config):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "disp_0002_0003.nii.gz").write_text("precious")
    with pytest.raises(
        DataError, match=r"holds disp_0002_0003.nii.gz from elsewhere .*choose another folder"
    ):
        made(tmp_path / "out", config)
    made(tmp_path / "new", config)
    (tmp_path / "x.zip").write_text("precious")
    with pytest.raises(DataError, match="never overwritten"):
        pack(tmp_path / "new", tmp_path / "x.zip", config, FORM)
    assert (tmp_path / "x.zip").read_text() == "precious"


def test_fields_of_another_grid_are_refused(tmp_path, config):
    result = made(tmp_path / "out", config, maker=Constant(shape=(4, 4, 4)))
    assert "has the grid (4, 4, 4), the task wants (16, 12, 10)" in next(iter(result.failures.values()))


# -- the check ----------------------------------------------------------------------------------------


def test_all_missing_names_at_once_and_what_does_not_belong(tmp_path, config):
    path = zipped(
        tmp_path,
        {"a/disp_0001_0009.nii.gz": smooth(), "__MACOSX/._disp_0001_0002.nii.gz": "x", "a/readme.txt": "x"},
    )
    found = check_submission(path, config, FORM)
    assert found.errors == ("2 of 2 fields are missing: disp_0001_0002.nii.gz, disp_0002_0003.nii.gz.",)
    told = " ".join(found.warnings)
    assert "1 fields belong to no pair of Tiny: a/disp_0001_0009.nii.gz" in told
    assert "2 files are no displacement fields" in told


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (
            np.zeros((4, 12, 10, 3), np.float16),
            "shape 4×12×10×3 does not fit the task, which wants 16×12×10×3",
        ),
        (np.full((*SHAPE, 3), np.nan, np.float16), "NaN or infinite"),
        (np.full((*SHAPE, 3), np.inf, np.float16), "NaN or infinite"),
        ([np.zeros((*SHAPE, 3)), np.zeros(3)], "holds 2 arrays; a field is exactly one"),
        (np.moveaxis(smooth(), -1, 0).astype(np.float16), "wants 16×12×10×3"),
    ],
)
def test_wrong_arrays(tmp_path, config, array, message):
    good = smooth().astype(np.float16)
    found = check_submission(
        zipped(tmp_path, {"t/disp_0001_0002.npz": array, "t/disp_0002_0003.npz": good}), config, FORM
    )
    assert not found.passed
    assert message in " ".join(found.errors)
    assert not any("disp_0002_0003" in text for text in found.errors)


def test_wrong_arrays_of_2021(tmp_path, config):
    form = Form("OASIS", 2021, "float16", None)
    half = np.zeros((3, *(size // 2 for size in SHAPE)), np.float16)
    files = {"task_03/disp_0001_0002.npz": half.astype(np.float32), "task_03/disp_0002_0003.npz": half}
    found = check_submission(zipped(tmp_path, files), config, form)
    assert found.errors == ("disp_0001_0002.npz: values are float32; the edition 2021 takes float16 only.",)
    whole = {f"task_03/disp_{f}_{m}.npz": np.zeros((3, *SHAPE), np.float16) for f, m in PAIRS}
    found = check_submission(zipped(tmp_path, whole, name="y.zip"), config, form)
    assert "shape 3×16×12×10; the edition 2021 wants 3×8×6×5" in found.errors[0]
    loose = {f"disp_{f}_{m}.npz": half for f, m in PAIRS}
    found = check_submission(zipped(tmp_path, loose, name="z.zip"), config, form)
    assert any("at the top of the zip" in text for text in found.warnings)


@pytest.mark.parametrize(
    ("scale", "message"),
    [(0.1, "normalised (-1 to 1)"), (40.0, "Are they in millimetres"), (0.0, "All fields are exactly zero")],
)
def test_units_that_look_wrong(tmp_path, config, scale, message):
    files = {f"t/disp_{f}_{m}.nii.gz": scale * smooth() for f, m in PAIRS}
    found = check_submission(zipped(tmp_path, files), config, FORM)
    assert found.passed
    assert any(message in text for text in found.warnings)


def test_positions_instead_of_displacements(tmp_path, config):
    positions = np.moveaxis(np.indices(SHAPE), 0, -1) + smooth()
    files = {"t/disp_0001_0002.nii.gz": positions, "t/disp_0002_0003.nii.gz": smooth()}
    found = check_submission(zipped(tmp_path, files), config, FORM)
    assert any("disp_0001_0002" in text and "Subtract the identity" in text for text in found.warnings)
    assert not any("disp_0002_0003" in text for text in found.warnings)


def test_names_that_only_one_rule_understands(tmp_path, config):
    short = zipped(tmp_path, {f"t/disp_{f}_{m}.nii.gz": smooth() for f, m in PAIRS})
    assert any("since February 2025" in text for text in check_submission(short, config, FORM).warnings)
    assert check_submission(short, config, FORM, rule="2022").passed
    assert "disp_0001_0000_0002_0000.nii.gz" in check_submission(short, config, FORM, rule="2025").errors[0]


def test_a_truncated_field_is_one_error(tmp_path, config):
    path = zipped(tmp_path, {"t/disp_0001_0002.nii.gz": "not a field", "t/disp_0002_0003.nii.gz": smooth()})
    found = check_submission(path, config, FORM)
    assert len(found.errors) == 1
    assert "disp_0001_0002" in found.errors[0]
    assert found.fields == 1


# -- the command --------------------------------------------------------------------------------------


def test_a_run_becomes_a_zip_that_the_evaluation_reads(tmp_path, task, capsys):
    run = identity_run(tmp_path / "run", root=task.parent)
    arguments = ["submit", "--run", str(run), "--task", "Tiny", "-o", str(tmp_path / "sub.zip")]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "2 of 2 fields of Tiny" in printed
    assert "ready to be sent" in printed
    found = evaluate(tmp_path / "sub.zip", task, output=tmp_path / "metrics.json")
    assert found.metrics.aggregates["LogJacDetStd"]["mean"] == 0
    assert found.metrics.aggregates["DSC"]["mean"] == pytest.approx(0.5)  # boxes of 4 voxels, 2 apart
    assert main(arguments) == 1
    assert "exists already" in capsys.readouterr().err


def test_fields_of_files_become_a_zip_in_another_form(tmp_path, task, config, capsys):
    """The right shift, converted to the form of 2021 and back: Dice 1 but for the border of the grid."""
    made(tmp_path / "fields", config)
    options = ["--task", "Tiny", "--data", str(task), "--naming", "long", "--dtype", "float16"]
    command = ["submit", "--fields", str(tmp_path / "fields"), "-o", str(tmp_path / "s.zip"), *options]
    assert main(command) == 0
    assert "Tiny/disp_0001_0000_0002_0000.npz" in zipfile.ZipFile(tmp_path / "s.zip").namelist()
    found = evaluate(tmp_path / "s.zip", task, output=tmp_path / "metrics.json")
    assert found.metrics.aggregates["DSC"]["mean"] == 1
    assert found.metrics.aggregates["HD95"]["mean"] == 0


def test_a_missing_field_keeps_the_others_and_writes_no_zip(tmp_path, task, config, capsys):
    made(tmp_path / "fields", config)
    (tmp_path / "fields" / "disp_0001_0002.nii.gz").unlink()
    out = tmp_path / "s.zip"
    command = [
        "submit",
        "--fields",
        str(tmp_path / "fields"),
        "--task",
        "Tiny",
        "--data",
        str(task),
        "-o",
        str(out),
    ]
    assert main(command) == 1
    assert "FAILED 0001_0000<--0002_0000" in capsys.readouterr().out
    assert not out.exists()
    assert (tmp_path / "s" / "disp_0002_0003.nii.gz").is_file()


def test_anybodys_zip_is_checked_without_data(tmp_path, capsys):
    path = zipped(tmp_path, {"t/disp_0001_0002.npz": np.zeros(3)})
    assert main(["submit", "--check", str(path), "--task", "LungCT"]) == 1
    printed = capsys.readouterr().out
    assert "3 of 3 fields are missing: disp_0001_0001.nii.gz, disp_0002_0002.nii.gz" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task", "OASIS"], "Give one of --run, --fields, --check and --container"),
        (["--task", "OASIS", "--check", "a", "--fields", "b"], "Give one of"),
        (["--task", "Brain", "--check", "a"], "The pairs of Brain are not known here (known: OASIS,"),
        (["--task", "OASIS", "--fields", "a"], "-o submission.zip"),
        (["--task", "OASIS", "--check", "nowhere"], "nowhere does not exist"),
        (["--task", "OASIS", "--container", "c"], "--container needs --run"),
        (["--task", "OASIS", "--run", "nowhere", "-o", "x.zip"], "No checkpoint at"),
    ],
)
def test_mistakes_of_the_command_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(["submit", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_another_task_than_the_data(tmp_path, task, capsys):
    assert main(["submit", "--check", str(task), "--task", "OASIS", "--data", str(task)]) == 1
    assert "OASIS_dataset.json is expected, found Tiny_dataset.json" in capsys.readouterr().err


# -- container ----------------------------------------------------------------------------------------


def container(tmp_path, task):
    run = identity_run(tmp_path / "run", root=task.parent)
    assert main(["submit", "--container", str(tmp_path / "box"), "--run", str(run), "--task", "Tiny"]) == 0
    return tmp_path / "box"


def test_the_recipe_is_complete_and_names_nothing_local(tmp_path, task, capsys):
    box = container(tmp_path, task)
    names = {file.name for file in box.iterdir()}
    assert names >= {
        "Dockerfile",
        "requirements.txt",
        "constraints.txt",
        "train.sh",
        "test.sh",
        "README.md",
        "models",
    }
    texts = {name: (box / name).read_text() for name in ("Dockerfile", "train.sh", "test.sh", "README.md")}
    assert not any("@" in text.replace('"$@"', "") for text in texts.values())
    assert str(tmp_path) not in " ".join(
        [*texts.values(), (box / "models" / "run" / "config.yaml").read_text()]
    )
    assert "'model=identity'" in texts["train.sh"]
    assert "/home/me" not in texts["train.sh"]
    requirements = (box / "requirements.txt").read_text()
    assert "nibabel" in requirements
    assert not any(line.startswith("torch>") for line in requirements.splitlines())
    assert (box / "medreg_source" / "medreg" / "studies" / "learn2reg" / "ranking_rules.yaml").is_file()
    assert main(["submit", "--container", str(box), "--run", str(tmp_path / "run"), "--task", "Tiny"]) == 1
    assert "is not empty and nothing is overwritten" in capsys.readouterr().err


@pytest.mark.slow
def test_the_script_of_the_container_writes_the_fields(tmp_path):
    task = tiny_task(tmp_path / "data", test=True)
    box = container(tmp_path, task)
    command = [str(box / "test.sh"), str(task / "Tiny_dataset.json")]
    done = subprocess.run(
        command, env={"PYTHON": sys.executable, "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}, capture_output=True,
        text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = {file.name for file in (box / "output").iterdir() if not file.name.startswith(".")}
    assert found == {"disp_0001_0002.nii.gz", "runtime.csv"}  # the test pairs only
    (kept,) = Store(box / "output" / ".submission.jsonl")
    assert kept.key == {"case": "0001_0000<--0002_0000"}
