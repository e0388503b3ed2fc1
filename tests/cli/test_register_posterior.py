"""`medreg register --posterior` as a person types it: files, what is printed, and errors in one sentence."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from small_run import ROOT, environment
from tiny_task import identity_run

from medreg.cli.main import main
from medreg.errors import ConfigError
from medreg.io.field import read_displacement
from medreg.io.image import write_image, write_labels
from medreg.registering.posterior import PosteriorRequest
from medreg.registering.posterior_model import divided, posterior_model

sitk = pytest.importorskip("SimpleITK")
SHORT = ["--set", "inference.variational.iterations=15", "--no-affine"]
SPACING = (1.5, 1.2, 3.0)


@pytest.fixture(name="files")
def files_fixture(tmp_path):
    """The function that writes two balls of different size with their labels, on a flipped anisotropic grid."""

    def write(shape):
        affine = np.diag([-SPACING[0], -SPACING[1], SPACING[2], 1.0])
        grid = np.indices(shape)
        far = np.sqrt(sum(((g - (s - 1) / 2) / s) ** 2 for g, s in zip(grid[:2], shape[:2], strict=True)))
        paths = {}
        for side, radius in (("fixed", 0.34), ("moving", 0.3)):
            image = 1 / (1 + np.exp(40 * (far - radius))) + 0.1 * np.sin(grid[0] / 3)
            paths[side] = str(write_image(tmp_path / f"{side}.nii.gz", image, affine))
            label = (far < radius).astype(int)
            paths[f"{side}_labels"] = str(write_labels(tmp_path / f"{side}_seg.nii.gz", label, affine))
        return paths

    return write


def told(arguments, capsys):
    """The one sentence that a refused command says."""
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return " ".join(error.split())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "how", "length"),
    [
        ((26, 24), "vi", ["--samples", "12"]),
        ((26, 24, 5), "sghmc", ["--samples", "20", "--set", "inference.burn_in=5", "--slices"]),
        ((20, 18, 12), "sgld", ["--samples", "20", "--set", "inference.burn_in=5", "--volume"]),
    ],
)
def test_every_kind_of_image_gets_the_same_files(tmp_path, files, shape, how, length, capsys):
    paths, out = files(shape), tmp_path / "out"
    command = [
        "register",
        paths["fixed"],
        paths["moving"],
        "-o",
        str(out),
        "--posterior",
        how,
        *SHORT,
        *length,
    ]
    labels = ["--moving-labels", paths["moving_labels"], "--label-names", "ball=1", "--keep-samples", "2"]
    assert main([*command, *labels, "--fixed-labels", paths["fixed_labels"]]) == 0
    assert f"the posterior by {how}" in " ".join(capsys.readouterr().out.split())
    assert {file.name for file in (out / "posterior").iterdir()} == {
        "mean_displacement.nii.gz", "displacement_sd.nii.gz", "displacement_sd_norm.nii.gz", "volumes.csv",
        "probability_ball.nii.gz", "sample_000.nii.gz", "sample_001.nii.gz",
    }  # fmt: skip
    assert (out / "posterior.png").stat().st_size > 10_000
    rows = {
        (r["structure"], r["metric"]): r["value"]
        for r in json.loads((out / "metrics.json").read_text())["after"]
    }
    assert rows["all", "samples"] >= 12
    assert 0 < rows["all", "displacement_sd_mm"] < 5
    norm = np.asarray(nib.load(out / "posterior" / "displacement_sd_norm.nii.gz").dataobj)
    assert norm.shape == shape
    assert norm.mean() == pytest.approx(rows["all", "displacement_sd_mm"], rel=1e-4)
    spread = sitk.GetArrayFromImage(sitk.ReadImage(str(out / "posterior" / "displacement_sd.nii.gz")))
    np.testing.assert_allclose(np.sqrt(np.square(spread).sum(-1)).T, norm, rtol=1e-3, atol=1e-6)
    mean, sample = (
        read_displacement(out / "posterior" / f"{name}.nii.gz").displacement
        for name in ("mean_displacement", "sample_000")
    )
    assert 0 < np.abs(mean - sample).max() < 10
    with (out / "posterior" / "volumes.csv").open() as stream:
        volumes = [float(row["volume_ml"]) for row in csv.DictReader(stream)]
    assert np.mean(volumes) == pytest.approx(rows["ball", "sample_volume_ml"])


@pytest.mark.slow
def test_a_process_of_its_own_does_the_same_twice(tmp_path, files):
    paths = files((22, 20))
    for name in ("one", "two"):
        command = ["register", paths["fixed"], paths["moving"], "-o", str(tmp_path / name), "--posterior"]
        command += [*SHORT, "--samples", "4", "--no-overview"]
        call = [sys.executable, "-m", "medreg.cli.main", *command]
        done = subprocess.run(
            call,
            capture_output=True,
            text=True,
            env=environment(PYTHONPATH=str(ROOT)),
            cwd=tmp_path,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    one, two = (Path(tmp_path / name / "posterior" / "displacement_sd.nii.gz") for name in ("one", "two"))
    np.testing.assert_array_equal(np.asarray(nib.load(one).dataobj), np.asarray(nib.load(two).dataobj))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--posterior", "--samples", "0"], "--samples 0: give 2 or more"),
        (["--samples", "10"], "--samples says nothing without --posterior"),
        (["--keep-samples", "3"], "--keep-samples says nothing without --posterior"),
        (["--posterior", "hmc"], "--posterior"),
        (["--posterior", "--set", "inference.chain=3"], "inference.chain"),
        (["--posterior", "sgld", "--set", "inference.thin=0"], "thin of the sampling is 0"),
    ],
)
def test_bad_requests_are_one_sentence(tmp_path, files, options, sentence, capsys):
    paths = files((22, 20))
    command = ["register", paths["fixed"], paths["moving"], "-o", str(tmp_path / "out"), *options]
    assert sentence in told(command, capsys)
    assert not (tmp_path / "out").exists()


def test_bad_images_are_one_sentence(tmp_path, files, capsys):
    paths = files((22, 20))
    affine = nib.load(paths["fixed"]).affine
    constant = str(write_image(tmp_path / "constant.nii.gz", np.full((22, 20), 3.0), affine))
    empty = str(write_labels(tmp_path / "empty.nii.gz", np.zeros((22, 20), dtype=int), affine))
    out = ["-o", str(tmp_path / "out"), "--posterior"]
    assert "is constant" in told(["register", constant, paths["moving"], *out], capsys)
    masked = ["register", paths["fixed"], paths["moving"], *out, "--fixed-mask", empty]
    assert "holds no voxel" in told(masked, capsys)


def test_a_run_that_gives_no_samples_is_one_sentence(tmp_path, files, capsys):
    paths, run = files((22, 20, 4)), identity_run(tmp_path / "run")
    command = ["register", paths["fixed"], paths["moving"], "-o", str(tmp_path / "out"), "--posterior"]
    assert "Identity gives one answer and no samples" in told([*command, "--ckpt", str(run)], capsys)
    named = ["register", paths["fixed"], paths["moving"], "-o", str(tmp_path / "out"), "--posterior", "vi"]
    assert "another model registers here" in told([*named, "--ckpt", str(run)], capsys)


def test_options_belong_to_the_preset_or_to_the_posterior():
    preset, model = divided(
        ("mask_margin_mm=3", "affine.levels=[]", "inference.chains=4", "likelihood=gaussian")
    )
    assert preset == ("mask_margin_mm=3", "affine.levels=[]")
    assert model == ("inference.chains=4", "likelihood=gaussian")


def test_the_number_of_samples_is_that_of_all_chains():
    options = ("inference.chains=3", "inference.thin=5")
    model, settings = posterior_model(PosteriorRequest("sgld", 20), options, ndim=3)
    assert settings["inference"]["transitions"] == 35  # 7 samples of each of three chains
    assert model.inference.samples == 21
    model, _ = posterior_model(PosteriorRequest("auto", 20), (), ndim=2)
    assert model.inference.samples == 20
    with pytest.raises(ConfigError, match="--posterior"):
        posterior_model(PosteriorRequest("hmc"), (), ndim=2)
