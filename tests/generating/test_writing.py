"""The folder of a command: what it says agrees with the label maps in it, and it is the same twice."""

from __future__ import annotations

import json
import sys

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from hearts_run import LABELS, written
from PIL import Image

from medreg.api import age, complete, generate
from medreg.errors import ConfigError, MissingExtra

WOMAN = {"age": 60, "sex": "F", "height": 165, "weight": 70, "sbp": 130}


def held(folder):
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


def volumes(file):
    """(T,) mL by structure, counted in a written file."""
    image = nib.load(file)
    array = np.asarray(image.dataobj)
    voxel = abs(np.linalg.det(image.affine[:3, :3])) / 1000
    return {name: (array == code).sum((0, 1, 2)) * voxel for name, code in LABELS.items()}


@pytest.fixture(scope="module")
def generated(runs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "out"
    generate(runs["beating"], {**WOMAN, "age": 90}, n=5, output=folder)
    return folder


def test_files_of_generated_hearts(generated, runs):
    maps = {f"heart_00{k}.nii.gz" for k in range(1, 6)}
    tables = {"curves.csv", "measures.csv", "curves.png", "views.png", "animation.gif", "made.json"}
    assert held(generated) == maps | tables
    record = json.loads((generated / "made.json").read_text())
    assert record["files"] == sorted(held(generated) - {"made.json"})
    assert record["command"] == "medreg generate"
    assert len(record["digest"]) == 64
    assert (record["seed"], record["n"], record["run"]) == (1, 5, str(runs["beating"]))
    assert record["conditions"]["sex"] == "F"
    assert "outside what training has seen (44 to 82 years)" in record["notes"][0]


def test_tables_count_the_voxels_of_the_files(generated):
    curves = pd.read_csv(generated / "curves.csv")
    measures = pd.read_csv(generated / "measures.csv").set_index("heart")
    for name in ("heart_001", "heart_005"):
        counted = volumes(generated / f"{name}.nii.gz")
        rows = curves[curves.heart == name].sort_values("frame")
        for structure, values in counted.items():
            assert np.allclose(rows[f"{structure.lower()}_ml"], values)
        es = int(counted["LV"].argmin())
        row = measures.loc[name]
        assert row["es_frame"] == es
        assert row["lvedv_ml"] == pytest.approx(counted["LV"][0])
        assert row["rvesv_ml"] == pytest.approx(counted["RV"][es])
        assert row["lvm_g"] == pytest.approx(1.05 * counted["MYO"][0])
        assert row["lvef_percent"] == pytest.approx(100 * (1 - counted["LV"][es] / counted["LV"][0]))
        assert (row["age_years"], row["sex"], row["source"]) == (90, "F", "generated")


def test_pictures_are_pictures(generated):
    for name in ("curves.png", "views.png"):
        picture = np.asarray(Image.open(generated / name).convert("L"))
        assert min(picture.shape) > 200
        assert picture.std() > 10
    with Image.open(generated / "animation.gif") as gif:
        assert gif.n_frames == 10


def test_a_seed_gives_the_same_bytes(generated, runs, tmp_path):
    generate(runs["beating"], {**WOMAN, "age": 90}, n=5, output=tmp_path / "again")
    assert held(tmp_path / "again") == held(generated)
    for name in held(generated):
        assert (tmp_path / "again" / name).read_bytes() == (generated / name).read_bytes(), name


def test_completion_with_samples(plain, runs, files, tmp_path):
    out = tmp_path / "out"
    complete(files["ed"], runs["beating"], WOMAN, samples=3, output=out)
    maps = {"completion.nii.gz", *(f"sample_00{k}.nii.gz" for k in (1, 2, 3))}
    assert {name for name in held(out) if name.endswith(".nii.gz")} == maps
    assert nib.load(out / "completion.nii.gz").shape == (32, 32, 16, 10)
    curves, spread = pd.read_csv(out / "curves.csv"), pd.read_csv(out / "spread.csv")
    drawn = curves[curves.source == "completed_sample"].groupby("frame")["rv_ml"]
    assert np.allclose(spread["rv_mean_ml"], drawn.mean())
    assert np.allclose(spread["rv_sd_ml"], drawn.std())
    assert spread["rv_sd_ml"].max() > 1
    assert "3 of 4 hearts lack a structure" in json.loads((out / "made.json").read_text())["notes"][-1]


def test_surfaces_lie_on_the_label_maps(plain, runs, files, tmp_path):
    pyvista = pytest.importorskip("pyvista")
    out = tmp_path / "out"
    age(files["cycle"], runs["ageing"], {"sex": "M"}, from_age=50, to_age=55, steps=2, output=out, mesh=True)
    image = nib.load(out / "age_55.nii.gz")
    for frame in (0, 1):
        array = np.asarray(image.dataobj)[..., frame]
        centre = image.affine @ [*np.argwhere(array == LABELS["RV"]).mean(0), 1]
        mesh = pyvista.read(out / "meshes" / "age_55" / f"RV_0{frame}.vtp")
        assert np.abs(np.array(mesh.center_of_mass()) - centre[:3]).max() < 2.5
        assert mesh.volume / 1000 == pytest.approx(volumes(out / "age_55.nii.gz")["RV"][frame], rel=0.03)
    assert "meshes/age_50/LV.pvd" in json.loads((out / "made.json").read_text())["files"]


def test_ageing_says_the_change_beside_the_reconstruction(runs, files, tmp_path):
    out = tmp_path / "out"
    age(files["cycle"], runs["ageing"], {"sex": "M"}, from_age=50, to_age=60, steps=3, output=out)
    assert {
        "age_50.nii.gz",
        "age_55.nii.gz",
        "age_60.nii.gz",
        "changes.csv",
        "ages.png",
        "measures.png",
    } <= held(out)
    given = volumes(files["cycle"])
    changes = pd.read_csv(out / "changes.csv").set_index(["heart", "measure"])
    row = changes.loc["age_60", "lvedv_ml"]
    assert row["given"] == row["reconstructed"] == pytest.approx(given["LV"][0])
    assert (row["aged"], row["change"], row["expected"]) == (
        0,
        pytest.approx(-given["LV"][0]),
        pytest.approx(0),
    )
    assert (changes.loc["age_55", "change"] == 0).all()
    with Image.open(out / "animation.gif") as gif:
        assert gif.n_frames == 3


def test_header_of_the_file_is_kept(plain, runs, tmp_path, heart, turned):
    file = written(tmp_path / "ed.nii.gz", heart[:1], turned)
    image = nib.load(file)
    image.header.set_sform(turned, code=2)
    image.header.set_qform(turned, code=1)
    nib.save(image, file)
    complete(file, runs["beating"], WOMAN, output=tmp_path / "out")
    found = nib.load(tmp_path / "out" / "completion.nii.gz")
    assert int(found.header["sform_code"]) == 2
    assert np.allclose(found.affine, turned)
    assert found.header.get_zooms()[:3] == (5.0, 5.0, 8.0)
    assert found.get_data_dtype() == np.uint8


def test_nothing_is_replaced_or_written_when_refused(plain, generated, runs, files, tmp_path, monkeypatch):
    before = {name: (generated / name).stat().st_mtime_ns for name in held(generated)}
    with pytest.raises(ConfigError, match=r"is there already.*--overwrite"):
        generate(runs["beating"], WOMAN, output=generated)
    assert {name: (generated / name).stat().st_mtime_ns for name in held(generated)} == before
    with pytest.raises(ConfigError, match="age_years"):
        generate(runs["beating"], {"age": -3}, output=tmp_path / "out")
    monkeypatch.setitem(sys.modules, "pyvista", None)
    with pytest.raises(MissingExtra, match="medreg"):
        complete(files["ed"], runs["beating"], output=tmp_path / "out", mesh=True)
    assert not (tmp_path / "out").exists()


def test_overwriting_leaves_no_heart_of_before(plain, runs, tmp_path):
    out = tmp_path / "out"
    generate(runs["beating"], WOMAN, n=3, output=out)
    (out / "mine.txt").write_text("mine")
    generate(runs["beating"], WOMAN, n=1, output=out, overwrite=True)
    assert {name for name in held(out) if name.endswith(".nii.gz")} == {"heart_001.nii.gz"}
    assert (out / "mine.txt").read_text() == "mine"


def test_a_failure_in_the_middle_leaves_nothing(opened, tmp_path, monkeypatch):
    run, calls = opened["beating"], []
    plain = type(run.model).generate

    def failing(self, covariates, *, generator):
        calls.append(1)
        if len(calls) > 2:
            raise RuntimeError("out of memory")
        return plain(self, covariates, generator=generator)

    from medreg.generating.drawn import plan_generation
    from medreg.generating.writing import check_output, write

    monkeypatch.setattr(type(run.model), "generate", failing)
    plan = plan_generation(run, WOMAN, n=4, seed=1)
    place = check_output(plan, tmp_path / "out", mesh=False, overwrite=False)
    with pytest.raises(RuntimeError):
        write(plan, plan.make(), place, mesh=False)
    assert list(tmp_path.iterdir()) == []


def test_a_heart_that_the_file_does_not_hold_is_told(plain, runs, tmp_path, heart):
    """A model that has learned nothing fills its grid, which is longer than the file."""
    record = {}
    for name, grid in (("file", "file"), ("model", "model")):
        file = written(tmp_path / f"{name}.nii.gz", heart[:1, :, :, 3:13])
        complete(file, runs["cheart"], WOMAN, grid=grid, output=tmp_path / name)
        record[name] = json.loads((tmp_path / name / "made.json").read_text())["notes"]
    assert any("beyond the slices of the file" in note for note in record["file"])
    assert not any("beyond the slices" in note for note in record["model"])


def test_how_well_ed_comes_back_is_told(plain, runs, files, tmp_path):
    for name, words in (
        ("beating", "Dice LV 1.00, MYO 1.00, RV 1.00"),
        ("cheart", "do not believe the rest"),
    ):
        complete(files["ed"], runs[name], WOMAN, output=tmp_path / name)
        notes = json.loads((tmp_path / name / "made.json").read_text())["notes"]
        assert any(words in note for note in notes)
    assert "do not believe" not in json.loads((tmp_path / "beating" / "made.json").read_text())["notes"][0]


def test_samples_that_are_none_are_told(plain, runs, files, tmp_path):
    complete(files["ed"], runs["certain"], WOMAN, samples=2, output=tmp_path / "out")
    notes = json.loads((tmp_path / "out" / "made.json").read_text())["notes"]
    assert any("draws none" in note for note in notes)
