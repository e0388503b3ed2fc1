"""Hearts of a run lie on the right voxels with the right codes, and the same seed gives the same hearts."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
from hearts_run import LABELS, SIZE, cheart, hearts_run, known_heart, written
from made_hearts import SPACING

from medreg.api import age, complete, generate
from medreg.errors import CheckpointError, ConfigError, DataError
from medreg.generating.run import GenerationRun

CODES = np.array([0, *LABELS.values()])
WOMAN = {"age": 60, "sex": "F", "height": 165, "weight": 70, "sbp": 130}


def as_codes(heart):
    return np.moveaxis(CODES[heart], 0, -1)


def test_generated_hearts_lie_on_the_grid_of_the_model(opened):
    found = generate(opened["beating"], WOMAN, n=3)
    assert [heart.name for heart in found] == ["heart_001", "heart_002", "heart_003"]
    one = found["heart_002"]
    assert one.array.shape == (*SIZE, 10)
    assert set(np.unique(one.array)) == set(CODES)
    assert np.allclose(np.linalg.norm(one.affine[:3, :3], axis=0), SPACING)
    middle = one.affine @ [*((n - 1) / 2 for n in SIZE), 1]
    assert np.allclose(middle[:3], 0)
    assert found.notes == []
    assert found.measures.loc[1, "sex"] == "F"
    assert found.measures.loc[1, "lvedv_ml"] == pytest.approx((one.array[..., 0] == 1).sum() * 0.2)


def test_more_hearts_begin_with_the_same_and_a_seed_decides(opened):
    for name in ("beating", "cheart"):
        few, many, other = (
            generate(opened[name], WOMAN, n=n, seed=seed) for n, seed in ((2, 1), (4, 1), (2, 2))
        )
        assert all(np.array_equal(a.shape, b.shape) for a, b in zip(few, many, strict=False))
        assert not np.array_equal(few[0].shape, other[0].shape)
        assert not np.array_equal(many[0].shape, many[1].shape)


def test_completion_comes_back_to_the_voxels_and_codes_of_the_file(tmp_path, opened, files, heart):
    """The model repeats ED; on its own grid nothing is interpolated, so every frame is the file itself."""
    found = complete(files["ed"], opened["beating"], WOMAN)
    assert np.array_equal(found[0].array, as_codes(heart[[0] * 10]))
    assert np.allclose(found[0].affine, nib.load(files["ed"]).affine)
    acdc = {"LV": 3, "MYO": 2, "RV": 1}
    other = written(tmp_path / "acdc.nii.gz", heart[:1], labels=acdc)
    again = complete(other, opened["beating"], WOMAN, labels=acdc)
    assert np.array_equal(again[0].array[..., 4], np.array([0, 3, 2, 1])[heart[0]])
    assert again[0].labels == acdc


def test_a_file_of_other_axes_and_voxels(tmp_path, opened, turned):
    """Finer voxels, axes permuted and mirrored (as a proper rotation): the heart comes back where it was."""
    fine = known_heart(1, size=(64, 64, 32), spacing=(2.5, 2.5, 4.0))
    moved = fine.transpose(0, 3, 2, 1)[:, ::-1]
    affine = np.array([[0, 0, 2.5, -70.0], [0, 2.5, 0, 33.0], [-4.0, 0, 0, 50.0], [0, 0, 0, 1]])
    affine[:3, 1] *= np.sign(np.linalg.det(np.diag([1, -1, 1]) @ affine[:3, :3] @ np.eye(3)[[2, 1, 0]]))
    file = written(tmp_path / "turned.nii.gz", np.ascontiguousarray(moved), affine)
    found = complete(file, opened["beating"], WOMAN)[0]
    source = nib.load(file)
    assert np.allclose(found.affine, source.affine)
    truth = np.asarray(source.dataobj)
    for frame in (0, 9):
        for code in LABELS.values():
            a, b = found.array[..., frame] == code, truth == code
            assert 2 * (a & b).sum() / (a.sum() + b.sum()) > 0.85


def test_the_grid_of_the_model_where_the_heart_lies(tmp_path, opened, heart, turned):
    file = written(tmp_path / "far.nii.gz", heart[:1], turned)
    found = complete(file, opened["beating"], WOMAN, grid="model")[0]
    assert found.array.shape == (*SIZE, 10)
    for code in LABELS.values():
        here = found.affine @ [*np.argwhere(found.array[..., 0] == code).mean(0), 1]
        there = turned @ [*np.argwhere(np.asarray(nib.load(file).dataobj) == code).mean(0), 1]
        assert np.abs(here - there).max() < 2.5  # mm, half a voxel


def test_samples_differ_and_the_mean_does_not(opened, files):
    first, again = (complete(files["ed"], opened["cheart"], WOMAN, samples=2) for _ in range(2))
    assert [heart.name for heart in first] == ["completion", "sample_001", "sample_002"]
    assert all(np.array_equal(a.shape, b.shape) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[1].shape, first[2].shape)
    other = complete(files["ed"], opened["cheart"], WOMAN, seed=2)
    assert np.array_equal(first[0].shape, other[0].shape)
    known = first.measures.set_index("heart").loc["given"]
    assert known["lvedv_ml"] > 0
    assert np.isnan(known["lvesv_ml"])  # of ED alone nobody knows it


def test_ageing_of_ed_and_es(opened, files, heart):
    found = age(files["cycle"], opened["ageing"], {"sex": "M"}, from_age=45, to_age=70, steps=6)
    assert [one.name for one in found] == [f"age_{year}" for year in (45, 50, 55, 60, 65, 70)]
    assert [one.source for one in found] == ["reconstructed", *["aged"] * 5]
    young, old = as_codes(heart[[0, 5]]), as_codes(heart[[0, 5]])
    old[..., 0][old[..., 0] == 1] = 2
    assert np.array_equal(found["age_55"].array, young)
    assert np.array_equal(found["age_60"].array, old)
    assert any("told the same at 45 and 50 years" in note for note in found.notes)
    assert any("smoother" in note for note in found.notes)
    rows = found.measures.set_index("heart")
    assert rows.loc["given", "lvesv_ml"] == rows.loc["age_45", "lvesv_ml"] > 0


def test_cheart_keeps_its_code_and_changes_the_age(opened, files):
    run = opened["cheart"]
    found = age(files["cycle"], run, {"sex": "M"}, from_age=45, to_age=75, steps=2)
    first = torch.from_numpy(known_heart()[:1])
    now, then = ({**{n: torch.tensor([torch.nan]) for n in run.conditions.names}, "sex": torch.ones(1),
                  "age_years": torch.tensor([years])} for years in (45.0, 75.0))  # fmt: skip
    code, _ = run.model.encode(first, now)
    assert np.array_equal(found[0].shape, run.model.shapes(code, now)[0].numpy())
    assert np.array_equal(found[1].shape, run.model.shapes(code, then)[0].numpy())
    assert np.array_equal(found[0].shape, complete(files["ed"], run, {"sex": "M", "age": 45})[0].shape)
    assert any("looks at ED alone" in note for note in found.notes)


def refusals(tmp_path, runs, files, heart):
    """What is refused, by name: error, words of the sentence, and what was asked."""
    swapped = written(tmp_path / "swapped.nii.gz", heart[:1], labels={"LV": 4, "MYO": 2, "RV": 1})
    huge = written(tmp_path / "huge.nii.gz", heart[:1], np.diag([15.0, 15.0, 24.0, 1.0]))
    empty = written(tmp_path / "empty.nii.gz", 0 * heart[:1])
    years = {"from_age": 45, "to_age": 70}
    return {
        "no run": (CheckpointError, "No checkpoint", lambda: generate(tmp_path / "none")),
        "device": (ConfigError, "--device", lambda: generate(runs["cheart"], device="abacus")),
        "makes none": (CheckpointError, "makes no hearts.*model=cheart", lambda: generate(runs["still"])),
        "completes none": (CheckpointError, "completes no", lambda: complete(files["ed"], runs["still"])),
        "ages none": (CheckpointError, "another age.*model=ageheart", lambda: age(files["ed"], runs["still"], **years)),
        "not told": (CheckpointError | ConfigError, "not conditioned on age_years.*it knows sex", lambda: age(
            files["ed"], runs["sexless"], **years)),
        "none": (ConfigError, "-n is 0", lambda: generate(runs["cheart"], n=0)),
        "seed": (ConfigError, "--seed is -1", lambda: generate(runs["cheart"], seed=-1)),
        "samples": (ConfigError, "--samples", lambda: complete(files["ed"], runs["cheart"], samples=1.5)),
        "age": (ConfigError, "age_years", lambda: generate(runs["cheart"], {"age": -3})),
        "from": (ConfigError, "^--from is -3", lambda: age(files["ed"], runs["cheart"], from_age=-3, to_age=50)),
        "to": (ConfigError, "^--to is 130", lambda: age(files["ed"], runs["cheart"], from_age=50, to_age=130)),
        "same": (ConfigError, "both 50", lambda: age(files["ed"], runs["cheart"], from_age=50, to_age=50)),
        "nan": (ConfigError, "--to is nan", lambda: age(files["ed"], runs["cheart"], from_age=50, to_age=np.nan)),
        "steps": (ConfigError, "--steps", lambda: age(files["ed"], runs["cheart"], **years, steps=1)),
        "close": (ConfigError, "closer", lambda: age(
            files["ed"], runs["cheart"], from_age=45, to_age=45.01, steps=5)),
        "twice": (ConfigError, "leave age_years out", lambda: age(files["ed"], runs["cheart"], {"age": 1}, **years)),
        "grid": (ConfigError, "--grid", lambda: complete(files["ed"], runs["cheart"], grid="mine")),
        "one frame": (DataError, "ED and ES are wanted", lambda: age(files["ed"], runs["ageing"], **years)),
        "frames": (DataError, "--frame 0", lambda: complete(files["cycle"], runs["cheart"])),
        "swapped": (DataError, "LV=4,MYO=2,RV=1", lambda: complete(swapped, runs["cheart"])),
        "huge": (DataError, "larger than the grid", lambda: complete(huge, runs["cheart"])),
        "empty": (DataError, "holds no LV, no MYO, no RV", lambda: complete(empty, runs["cheart"])),
    }  # fmt: skip


def test_what_cannot_be_done_is_a_sentence(tmp_path, runs, files, heart):
    for name, (error, words, ask) in refusals(tmp_path, runs, files, heart).items():
        kinds = error.__args__ if hasattr(error, "__args__") else error
        with pytest.raises(kinds, match=words):
            pytest.fail(f"{name} was not refused: {ask()}")


def test_a_run_of_another_kind_is_refused(tmp_path):
    net = {"_target_": "torch.nn.Conv3d", "in_channels": 1, "out_channels": 1, "kernel_size": 1}
    folder = tmp_path / "segments"
    hearts_run(folder, cheart())
    text = (folder / "config.yaml").read_text()
    import yaml

    config = yaml.safe_load(text)
    config["model"] = net
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    with pytest.raises(
        CheckpointError, match=r"not the run of a model of hearts \(its model is torch.nn.Conv3d\)"
    ):
        GenerationRun.open(folder)


def test_a_run_that_does_not_say_its_grid_is_refused(tmp_path):
    import yaml

    folder = hearts_run(tmp_path / "run", cheart())
    config = yaml.safe_load((folder / "config.yaml").read_text())
    del config["data"]["placing"]
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    with pytest.raises(CheckpointError, match="on which grid"):
        GenerationRun.open(folder)
