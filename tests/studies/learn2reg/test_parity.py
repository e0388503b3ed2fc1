"""Our values against those of the official code, stored under expected/ by regenerate_expected.py.

Official code: MDL-UzL/L2R at commits 8847509 (current), 28985b7 (before the refactoring of names) and fc713f5 (before
August 2024), JHU-MedImage-Reg/LUMIR_L2R at 9b88e63.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import learn2reg_tasks as tasks
import pytest

from medreg.studies.learn2reg.evaluate import evaluate

EXPECTED = Path(__file__).with_name("expected")
TOLERANCE = 1e-6


def expected(name):
    return json.loads((EXPECTED / f"{name}.json").read_text(encoding="utf-8"))


def assert_same(found, wanted, where=""):
    """Equal structure, NaN and infinity at the same places, numbers to 1e-6 (relative above 1)."""
    if isinstance(wanted, dict):
        assert set(found) == set(wanted), where
        for key in wanted:
            assert_same(found[key], wanted[key], f"{where}/{key}")
    elif isinstance(wanted, list):
        assert len(found) == len(wanted), where
        for number, (ours, theirs) in enumerate(zip(found, wanted, strict=True)):
            assert_same(ours, theirs, f"{where}[{number}]")
    elif math.isnan(wanted):
        assert math.isnan(found), where
    else:
        assert found == pytest.approx(wanted, abs=TOLERANCE, rel=TOLERANCE), where


def assert_parity(task, name, *, thirty="2024"):
    evaluation = evaluate(task.fields, task.data, task.config, thirty=thirty)
    assert evaluation.failures == {}
    wanted = expected(name)
    assert evaluation.metrics.name == wanted["name"]
    assert_same(evaluation.metrics.cases, wanted["cases"], "cases")
    assert list(evaluation.metrics.cases) == list(wanted["cases"])
    assert_same(evaluation.metrics.aggregates, wanted["aggregates"], "aggregates")
    return evaluation, wanted


def test_masks_points_missing_labels_lost_label_npz(tmp_path):  # A1–A5, A7
    evaluation, wanted = assert_parity(tasks.paired(tmp_path), "paired")
    lost = wanted["cases"]["0003_0000<--0003_0001"]
    assert lost["DSC"]["detailed"][2] == 0  # A2
    assert math.isinf(lost["HD95"]["detailed"][2])
    assert math.isinf(evaluation.metrics.aggregates["HD95"]["mean"])
    (message,) = evaluation.messages["0004_0000<--0004_0001"]
    assert "masksTr/Paired_0004_0000.nii.gz" in message  # A7


def test_rule_of_30_before_august_2024(tmp_path):
    evaluation, _ = assert_parity(tasks.paired(tmp_path, key="arr_0"), "paired_old", thirty="2022")
    assert evaluation.metrics.medreg["rule_of_30"] == "2022"


def test_large_folds_scaled_integers_and_float32(tmp_path):
    evaluation, wanted = assert_parity(tasks.rough(tmp_path), "rough")
    case = "0001_0000<--0001_0001"
    assert wanted["cases"][case]["num_foldings"]["mean"] == 0
    assert evaluation.metrics.medreg["cases"][case]["folding_voxels"]["mean"] > 1000


@pytest.mark.parametrize("naming", ["long", "short"])
def test_same_modality_under_both_naming_rules(tmp_path, naming):  # A6
    assert_parity(tasks.same_modality(tmp_path, naming=naming), f"same_{naming}")


def test_key_points_per_pair_of_modalities(tmp_path):  # A6
    assert_parity(tasks.several_modalities(tmp_path), "several")


def test_half_resolution_files_of_2021(tmp_path):
    evaluation, _ = assert_parity(tasks.half_resolution(tmp_path), "half")
    assert all("half resolution" in lines[0] for lines in evaluation.messages.values())


def test_lumir_background_landmark_images_and_ndv(tmp_path):
    assert_parity(tasks.lumir(tmp_path), "lumir", thirty="2022")


def test_brain_phantom(tmp_path):
    task = tasks.brain(tmp_path)
    if tasks.digest(task.data) != expected("brain")["labels"]:
        pytest.skip("other versions of the libraries make another phantom than that of the stored values")
    assert_parity(task, "brain")


@pytest.mark.data
def test_real_hippocampi(tmp_path, shared_data):
    script = Path(__file__).parents[3] / "scripts" / "arrange_samples.py"
    words = [str(shared_data), str(tmp_path), "--shape", "64", "64", "64"]
    subprocess.run([sys.executable, str(script), *words], check=True, capture_output=True)
    task = tasks.hippocampus(tmp_path / "HippocampusMR", tmp_path / "task")
    assert tasks.digest(task.data) == expected("hippocampus")["labels"]
    assert_parity(task, "hippocampus")
