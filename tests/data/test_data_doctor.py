"""The audit of a data set and the command that prints it."""

from __future__ import annotations

import argparse

import data_fixtures as fixtures
import numpy as np
import pytest
from data_build import data_config, data_module

from medreg.cli import doctor
from medreg.data.audit import audit
from medreg.io.image import read_labels, write_labels


@pytest.fixture
def root(tmp_path):
    return fixtures.acdc(tmp_path / "acdc")


def messages(found, severity):
    return [issue.message for issue in found.issues if issue.severity == severity]


def test_a_sound_data_set_has_facts_and_no_errors(root):
    found = audit(data_module("acdc", root))
    assert not found.failed
    assert found.facts["subjects"] == "4"
    assert found.facts["sizes (voxels)"] == "20–24 x 20–24 x 2–5"
    assert found.facts["spacings (mm)"] == "1.56 x 1.56 x 10"
    assert found.facts["label codes"] == "LV 3, MYO 2, RV 1"
    assert any("zooms" in message for message in messages(found, "warning"))  # the sform of unit scale


def test_every_error_is_reported_at_once(root):
    (root / "training/patient001/patient001_frame01.nii.gz").write_bytes(b"not an image")
    (root / "training/patient002/Info.cfg").unlink()
    label = root / "training/patient090/patient090_frame04_gt.nii.gz"
    volume = read_labels(label)
    write_labels(label, np.where(volume.array == 2, 7, volume.array), volume.affine)
    found = audit(data_module("acdc", root))
    assert found.failed
    text = " ".join(messages(found, "error"))
    assert "patient001_frame01.nii.gz cannot be read" in text
    assert "Info.cfg is missing" in text
    assert "holds label 7, which data.labels does not name" in text


def test_frames_in_the_wrong_order_are_noticed(root):
    info = root / "training/patient001/Info.cfg"
    info.write_text(info.read_text().replace("ED: 1", "ED: 4").replace("ES: 4", "ES: 1"))
    found = audit(data_module("acdc", root))
    assert "the LV cavity is not larger in ED than in ES" in messages(found, "warning")


def run(monkeypatch, config):
    """Run the command on a composed `data` node; composing the rest is tested elsewhere."""
    monkeypatch.setattr("medreg.config.compose.compose", lambda overrides: argparse.Namespace(data=config))
    return doctor.run(argparse.Namespace(overrides=["data=acdc"], config=None, deep=False, json=False))


def test_exit_codes_and_output(root, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("COLUMNS", "160")
    assert run(monkeypatch, data_config("acdc", root)) == 0
    out = capsys.readouterr().out
    assert "subjects" in out
    assert "Usable" in out
    (root / "training/patient001/patient001_frame01.nii.gz").write_bytes(b"not an image")
    assert run(monkeypatch, data_config("acdc", root)) == 1
    assert "must be mended" in capsys.readouterr().out
    assert run(monkeypatch, data_config("acdc", tmp_path / "nowhere")) == 1
    assert "humanheart-project" in capsys.readouterr().out


def test_parser_takes_overrides():
    parser = argparse.ArgumentParser()
    doctor.add_parser(parser.add_subparsers())
    args = parser.parse_args(["doctor", "data=acdc", "data.dataset.root=x"])
    assert args.overrides == ["data=acdc", "data.dataset.root=x"]
    assert args.run is doctor.run
