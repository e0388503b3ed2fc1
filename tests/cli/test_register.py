"""`medreg register` as a person types it: files, what is printed, and errors in one sentence."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tiny_task import SHAPE, identity_run, tiny_task

from medreg.cli.main import main
from medreg.cli.register import label_codes
from medreg.errors import ConfigError
from medreg.io.image import write_image, write_labels

QUICK = ["--set", "model.levels=[{shrink: 2, sigma: 1.0, iterations: 8, learning_rate: 0.3}]", "--no-affine"]


@pytest.fixture
def pair(tmp_path):
    """Two discs of different size, with labels, on a grid of thin pixels."""
    affine = np.diag([1.5, 1.5, 4.0, 1.0])
    x, y = np.indices((32, 30))
    paths = {}
    for side, radius in (("fixed", 10), ("moving", 8)):
        distance = np.hypot(x - 15, y - 14)
        image = 1 / (1 + np.exp(distance - radius)) + 0.1 * np.sin(x / 3)
        paths[side] = str(write_image(tmp_path / f"{side}.nii.gz", image[..., None], affine))
        labels = (distance < radius)[..., None].astype(int)
        paths[f"{side}_labels"] = str(write_labels(tmp_path / f"{side}_seg.nii.gz", labels, affine))
    return paths


def test_writes_every_file_and_prints_the_choice(tmp_path, pair, capsys):
    out = tmp_path / "out"
    arguments = ["register", pair["fixed"], pair["moving"], "-o", str(out), *QUICK, "--inverse", "--jacobian"]
    labels = ["--fixed-labels", pair["fixed_labels"], "--moving-labels", pair["moving_labels"]]
    assert main([*arguments, *labels, "--label-names", "disc=1"]) == 0
    assert {file.name for file in out.iterdir()} == {
        "warped.nii.gz",
        "warped_labels.nii.gz",
        "displacement.nii.gz",
        "inverse_displacement.nii.gz",
        "jacobian.nii.gz",
        "metrics.json",
        "overview.png",
    }
    printed = capsys.readouterr().out
    assert "preset general" in printed
    assert "single slice" in printed
    assert "disc" in printed
    content = json.loads((out / "metrics.json").read_text())
    dice = {
        name: next(r["value"] for r in content[name] if r["metric"] == "dice") for name in ("before", "after")
    }
    assert dice["after"] > dice["before"]
    assert (out / "overview.png").stat().st_size > 10_000


def test_error_is_one_sentence_without_traceback(tmp_path, pair, capsys):
    assert main(["register", pair["fixed"], str(tmp_path / "no.nii.gz"), "-o", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert "no.nii.gz does not exist" in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_unknown_preset_lists_the_known_ones(tmp_path, pair, capsys):
    assert main(["register", pair["fixed"], pair["moving"], "-o", str(tmp_path), "--preset", "brian"]) == 1
    assert "Did you mean brain" in capsys.readouterr().err


def test_help_fits_one_screen(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["register", "--help"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert "displacement.nii.gz" in printed
    assert len(printed.splitlines()) < 80


def test_label_names_are_name_and_code():
    assert label_codes(["LV=3", "RV=1"]) == {"LV": 3, "RV": 1}
    assert label_codes([]) is None
    with pytest.raises(ConfigError, match="NAME=CODE"):
        label_codes(["LV"])


@pytest.mark.slow
@pytest.mark.data
def test_real_stack_of_thick_slices(tmp_path, shared_data, capsys):
    case = shared_data / "acdc" / "patient052"
    files = [f"{case}_{name}.nii.gz" for name in ("ed", "es", "ed_gt", "es_gt")]
    labels = ["--fixed-labels", files[2], "--moving-labels", files[3], "--no-surface"]
    assert main(["register", *files[:2], "-o", str(tmp_path), *labels]) == 0
    content = json.loads((tmp_path / "metrics.json").read_text())

    def mean(state, metric, structure="mean"):
        return next(
            r["value"] for r in content[state] if r["metric"] == metric and r["structure"] == structure
        )

    assert content["method"] == "preset cardiac"
    assert mean("after", "dice") > mean("before", "dice") + 0.1
    assert mean("after", "folding_percent", "all") < 0.01


def test_a_number_without_set_is_told_how_to_write_it(pair, capsys):
    with pytest.raises(SystemExit):
        main(["register", pair["fixed"], pair["moving"], "-o", "out", "model.smoothing=1"])
    assert "write --set model.smoothing=1" in capsys.readouterr().err


def test_a_model_for_slices_says_so_of_a_volume(tmp_path, capsys):
    task = tiny_task(tmp_path / "data")
    run = identity_run(tmp_path / "run")
    (run / "config.yaml").write_text((run / "config.yaml").read_text().replace("ndim: 3", "ndim: 2"))
    images = [str(task / f"imagesTr/Tiny_000{k}_0000.nii.gz") for k in (1, 2)]
    options = ["-o", str(tmp_path / "out"), "--ckpt", str(run), "--no-overview"]
    assert main(["register", *images, *options]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert f"each of the {min(SHAPE)} by itself" in printed
