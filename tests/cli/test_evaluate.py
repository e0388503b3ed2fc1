"""The command `medreg evaluate learn2reg`."""

from __future__ import annotations

import json
import zipfile

import learn2reg_tasks as tasks
import numpy as np
import pytest

from medreg.cli.main import main


@pytest.fixture
def task(tmp_path):
    return tasks.same_modality(tmp_path)


def command(task, output, *more, fields=None, config=True):
    words = ["evaluate", "learn2reg", "--fields", str(fields or task.fields), "--data", str(task.data)]
    return [*words, *(["--config", str(task.config)] if config else []), "-o", str(output), *more]


def test_scores_a_folder(task, tmp_path, capsys):
    output = tmp_path / "out" / "metrics.json"
    assert main(command(task, output)) == 0
    shown = capsys.readouterr().out
    assert "3 of 3 cases scored" in shown
    assert "LogJacDetStd" in shown
    assert "hd95_mm" in shown
    content = json.loads(output.read_text(encoding="utf-8"))
    assert content["name"] == "Same"
    assert output.with_suffix(".csv").is_file()
    assert len(output.with_name("metrics.cases.jsonl").read_text(encoding="utf-8").splitlines()) == 3


def test_reports_every_bad_field_and_scores_the_rest_then_resumes(task, tmp_path, capsys):
    truncated = task.fields / "disp_0001_0000_0002_0000.nii.gz"
    whole = truncated.read_bytes()
    truncated.write_bytes(whole[:3000])
    shape = task.fields / "disp_0002_0000_0003_0000.nii.gz"
    tasks.save_field(task.fields, shape.name.removesuffix(".nii.gz"), np.zeros((4, 4, 4, 3), np.float32))
    output = tmp_path / "metrics.json"
    assert main(command(task, output, "--workers", "2")) == 1
    shown = capsys.readouterr().out
    last = shown.strip().splitlines()[-2:]
    assert "FAILED 0001_0000<--0002_0000" in last[0]
    assert "truncated" in last[0]
    assert "4×4×4×3 does not fit" in last[1]
    assert "1 of 3 cases scored" in shown
    truncated.write_bytes(whole)
    assert main(command(task, output)) == 1
    assert "2 of 3 cases scored, 1 of them earlier" in capsys.readouterr().out
    shape.unlink()
    assert main(command(task, output, "--fresh", "--strict-json")) == 1
    shown = capsys.readouterr().out
    assert "No field disp_0002_0000_0003_0000 or disp_0002_0003" in shown
    assert "earlier" not in shown
    json.loads(output.read_text(encoding="utf-8"), parse_constant=lambda token: pytest.fail(token))


def test_scores_a_zip_by_the_descriptor_of_the_task(task, tmp_path, capsys):
    archive = tmp_path / "submission.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for file in task.fields.iterdir():
            opened.write(file, f"folder/{file.name}")
    config = json.loads(task.config.read_text(encoding="utf-8"))
    descriptor = {
        "name": "Same",
        "tensorImageShape": {"0": config["expected_shape"][:3]},
        "registration_val": config["eval_pairs"],
        "registration_test": config["eval_pairs"][:1],
    }
    (task.data / "Same_dataset.json").write_text(json.dumps(descriptor), encoding="utf-8")
    assert main(command(task, tmp_path / "a.json", fields=archive, config=False)) == 0
    assert main(command(task, tmp_path / "b.json")) == 0
    of_zip, of_folder = (json.loads((tmp_path / name).read_text()) for name in ("a.json", "b.json"))
    assert json.dumps(of_zip["cases"]) == json.dumps(of_folder["cases"])
    assert of_zip["medreg"]["method"] == "submission"
    capsys.readouterr()
    words = ("--split", "test", "--method", "Demons")
    assert main(command(task, tmp_path / "c.json", *words, config=False)) == 0
    assert "1 of 1 cases" in capsys.readouterr().out
    assert json.loads((tmp_path / "c.json").read_text())["medreg"]["method"] == "Demons"


def test_what_a_person_got_wrong_is_one_sentence(task, tmp_path, capsys):
    assert main(command(task, tmp_path / "m.json", fields=tmp_path / "absent")) == 1
    assert "does not exist; give the folder or zip" in capsys.readouterr().err
    assert main(command(task, tmp_path / "m.json", config=False)) == 1
    assert "--config" in capsys.readouterr().err
