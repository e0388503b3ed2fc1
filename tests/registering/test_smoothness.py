"""λ at inference, as a person gives it with files: what the model is shown, and what bad input is told."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from conditional_models import conditional_run

from medreg.api import register
from medreg.cli.main import main
from medreg.config.paths import config_dir
from medreg.errors import CompositionError, ConfigError, DataError
from medreg.io.image import write_image, write_labels
from medreg.models.chosen_smoothness import CONDITIONAL, WITH_MAPS, ChosenSmoothness, read_choice
from medreg.registering.smoothness import SmoothnessRequest

SHAPE = (16, 12, 10)
FLIPPED = np.array([[-2.0, 0, 0, 30], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


@pytest.fixture(autouse=True)
def allowed(monkeypatch):
    monkeypatch.setenv("MEDREG_ALLOW", "conditional_models")


@pytest.fixture
def files(tmp_path):
    """A pair, a label map with labels 0, 1 and 3, and a ramp of λ from 0 to 1 along the first axis."""
    generator = np.random.default_rng(1)
    ramp = np.broadcast_to(np.linspace(0, 1, SHAPE[0])[:, None, None], SHAPE)
    labels = np.zeros(SHAPE, dtype=np.int32)
    labels[4:8], labels[8:12] = 1, 3
    paths = {
        name: write_image(tmp_path / f"{name}.nii.gz", generator.random(SHAPE), FLIPPED)
        for name in ("fixed", "moving")
    }
    paths["map"] = write_image(tmp_path / "map.nii.gz", ramp, FLIPPED)
    paths["labels"] = write_labels(tmp_path / "labels.nii.gz", labels, FLIPPED)
    return paths


def moved(files, run, **options):
    """Displacement along the first axis, voxels, on a line along it."""
    result = register(files["fixed"], files["moving"], ckpt=run, surface=False, **options)
    return result.displacement[0, :, 6, 5]


def test_one_number(files, tmp_path):
    run = conditional_run(tmp_path / "run")
    np.testing.assert_allclose(moved(files, run, smoothness=0.5), 2.0, atol=1e-5)
    np.testing.assert_allclose(moved(files, run), 3.0, atol=1e-5)  # the model's own λ


def test_a_map_reaches_every_voxel(files, tmp_path):
    run = conditional_run(tmp_path / "run")
    wanted = 4 * (1 - np.linspace(0, 1, SHAPE[0]))
    np.testing.assert_allclose(moved(files, run, smoothness=files["map"]), wanted, atol=1e-5)


def test_a_map_is_turned_resampled_and_cropped_as_the_fixed_image(files, tmp_path):
    """Turned to RAS and resampled to 1 mm, the ramp runs the other way; 4 mm to the right are −2 voxels."""
    run = conditional_run(tmp_path / "run", orientation="ras", spacing_mm=[1.0, 1.0, 1.0], size=[24, 8, 8])
    found = moved(files, run, smoothness=files["map"])
    wanted = -2 * (1 - np.linspace(0, 1, SHAPE[0]))
    np.testing.assert_allclose(found[3:13], wanted[3:13], atol=1e-4)


def test_beyond_the_image_the_map_is_the_models_own(files, tmp_path):
    """Padded from 16 to 20 voxels and one voxel beyond: nothing of it reaches the image."""
    run = conditional_run(tmp_path / "run", size=[20, 12, 10])
    ones = np.ones(SHAPE, dtype=np.float32)
    np.testing.assert_allclose(moved(files, run, smoothness=ones), 0.0, atol=1e-5)


def test_labels_get_their_own_and_the_others_the_rest(files, tmp_path):
    run = conditional_run(tmp_path / "run")
    found = moved(
        files, run, fixed_labels=files["labels"], smoothness=SmoothnessRequest(0.75, labels={1: 0.5, 3: 1.0})
    )
    np.testing.assert_allclose(found, [1, 1, 1, 1, 2, 2, 2, 2, 0, 0, 0, 0, 1, 1, 1, 1], atol=1e-5)
    found = moved(files, run, fixed_labels=files["labels"], smoothness={0: 1.0})
    np.testing.assert_allclose(found, [0, 0, 0, 0, 3, 3, 3, 3, 3, 3, 3, 3, 0, 0, 0, 0], atol=1e-5)


def test_the_result_of_a_search_is_taken(files, tmp_path):
    file = tmp_path / "found.yaml"
    file.write_text("weight: 0.75\nlabels: {1: 0.5}\nobjective: label_dice\n")
    run = conditional_run(tmp_path / "run")
    found = moved(files, run, fixed_labels=files["labels"], smoothness=file)
    np.testing.assert_allclose(found, [1] * 4 + [2] * 4 + [1] * 8, atol=1e-5)
    file.write_text("weight: 0.5\n")
    np.testing.assert_allclose(moved(files, run, smoothness=file), 2.0, atol=1e-5)


def test_slices_get_their_part_of_the_map(files, tmp_path):
    run = conditional_run(tmp_path / "run", ndim=2)
    depth = np.broadcast_to(np.linspace(0, 0.9, SHAPE[2]), SHAPE)
    result = register(files["fixed"], files["moving"], ckpt=run, surface=False, smoothness=depth)
    np.testing.assert_allclose(result.displacement[0, 3, 4], 4 * (1 - np.linspace(0, 0.9, 10)), atol=1e-5)


def test_outside_the_range_is_a_note_that_says_the_range(files, tmp_path):
    run = conditional_run(tmp_path / "run", model={"smoothness_range": [0.1, 0.8]})
    result = register(files["fixed"], files["moving"], ckpt=run, surface=False, smoothness=1.5)
    assert any("λ = 1.5 lies outside the range of training, 0.1 to 0.8" in note for note in result.notes)
    result = register(files["fixed"], files["moving"], ckpt=run, surface=False, smoothness=files["map"])
    assert any("from 0 to 1, outside" in note for note in result.notes)
    result = register(files["fixed"], files["moving"], ckpt=run, surface=False, smoothness=0.5)
    assert not any("λ" in note for note in result.notes)


def test_the_command_line_writes_down_what_it_was_told(files, tmp_path):
    run, out = conditional_run(tmp_path / "run"), tmp_path / "out"
    words = ["register", str(files["fixed"]), str(files["moving"]), "-o", str(out), "--ckpt", str(run)]
    words += ["--no-overview", "--no-surface", "--fixed-labels", str(files["labels"])]
    assert (
        main([*words, "--smoothness", "0.75", "--smoothness-label", "1=0.5", "--smoothness-label", "3=1.0"])
        == 0
    )
    content = json.loads((out / "metrics.json").read_text())
    assert content["settings"]["smoothness"] == {"smoothness": 0.75, "labels": {"1": 0.5, "3": 1.0}}
    assert main([*words, "--smoothness", "0"]) == 0
    assert json.loads((out / "metrics.json").read_text())["settings"]["smoothness"] == {"smoothness": 0.0}


def bad_map(files, how):
    file = files["map"].parent / f"{how}.nii.gz"
    array = np.full(SHAPE, 0.5)
    affine = FLIPPED.copy()
    if how == "shape":
        array = array[:-1]
    elif how == "nan":
        array[0, 0, 0] = np.nan
    else:
        affine[0, 3] += 20
    return write_image(file, array, affine)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("shape", (r"shape.nii.gz has shape \(15, 12, 10\)", r"fixed.nii.gz has \(16, 12, 10\)")),
        ("nan", (r"nan.nii.gz holds 1 NaN", "every voxel needs")),
        ("moved", (r"moved.nii.gz has the shape", "10.0 voxels off")),
    ],
)
def test_a_map_that_does_not_fit_is_named(files, tmp_path, how, words):
    run = conditional_run(tmp_path / "run")
    for word in words:
        with pytest.raises(DataError, match=word):
            register(files["fixed"], files["moving"], ckpt=run, smoothness=bad_map(files, how))


def test_models_that_take_no_weight_are_told_which_do(files, tmp_path):
    run = conditional_run(
        tmp_path / "run",
        model={"_target_": "medreg.models.identity.Identity"},
    )
    for key in ("reach", "takes_maps", "smoothness_range", "smoothness"):
        content = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
        content["medreg"]["config"]["model"].pop(key)
        torch.save(content, run / "checkpoints" / "best.ckpt")
    with pytest.raises(CompositionError, match=r"Identity takes no λ.*model=csain, model=cin"):
        register(files["fixed"], files["moving"], ckpt=run, smoothness=0.5)


def test_models_of_one_number_refuse_maps_and_labels(files, tmp_path):
    run = conditional_run(tmp_path / "run", model={"takes_maps": False})
    np.testing.assert_allclose(moved(files, run, smoothness=0.5), 2.0, atol=1e-5)
    for options in ({"smoothness": files["map"]}, {"fixed_labels": files["labels"], "smoothness": {1: 0.5}}):
        with pytest.raises(CompositionError, match=r"takes one λ for the whole pair.*model=csain"):
            register(files["fixed"], files["moving"], ckpt=run, **options)


def test_labels_without_a_label_map(files, tmp_path):
    run = conditional_run(tmp_path / "run")
    with pytest.raises(CompositionError, match="give --fixed-labels"):
        register(files["fixed"], files["moving"], ckpt=run, smoothness={1: 0.5})
    with pytest.raises(DataError, match=r"none of the labels that have a λ \(7\); it holds 0, 1, 3"):
        register(files["fixed"], files["moving"], ckpt=run, fixed_labels=files["labels"], smoothness={7: 0.5})


def test_a_preset_has_no_such_weight(files):
    with pytest.raises(ConfigError, match=r"regularisation\.weight"):
        register(files["fixed"], files["moving"], smoothness=0.5)


def test_contradictions_are_refused(tmp_path, files, capsys):
    with pytest.raises(ConfigError, match="--smoothness-map and --smoothness-file exclude"):
        SmoothnessRequest(map="a.nii.gz", file="b.yaml")
    with pytest.raises(ConfigError, match="--smoothness-map and --smoothness-label exclude"):
        SmoothnessRequest(map="a.nii.gz", labels={1: 0.3})
    words = ["register", str(files["fixed"]), str(files["moving"]), "-o", str(tmp_path / "out")]
    for more, told in (
        (["--smoothness", "0.3", "--smoothness-map", "x.nii.gz"], "exclude one another"),
        (["--smoothness-label", "LV=0.3"], "write ID=X"),
        (["--smoothness-label", "3=0.3", "--smoothness-label", "3=0.4"], "label 3 twice"),
        (["--smoothness", "nan"], "give a finite number"),
    ):
        run = tmp_path / "run" if (tmp_path / "run").exists() else conditional_run(tmp_path / "run")
        assert main([*words, "--ckpt", str(run), *more]) == 1
        assert told in capsys.readouterr().err


def test_files_without_a_weight_are_named(tmp_path):
    file = tmp_path / "found.yaml"
    with pytest.raises(DataError, match="search-smoothness"):
        read_choice(file)
    for text in ("a: [", "dice: 0.8", "weight: high", "weight: 0.2\nlabels: {LV: 0.3}", "- 1"):
        file.write_text(text)
        with pytest.raises(DataError, match=r"found\.yaml"):
            read_choice(file)
    with pytest.raises(ConfigError, match="label 3 is inf"):
        ChosenSmoothness(0.1, {3: float("inf")})


def test_the_messages_name_every_conditional_model():
    """Options of the group model whose class is conditional, and those whose λ may be a map."""
    import importlib

    from omegaconf import OmegaConf

    from medreg.models.conditional import ConditionalModel

    found = []
    for file in (config_dir() / "model").glob("*.yaml"):
        target = OmegaConf.load(file).get("_target_")  # some options only change another one
        if target is None:
            continue
        module, _, name = str(target).rpartition(".")
        if issubclass(getattr(importlib.import_module(module), name), ConditionalModel):
            found.append(file.stem)
    assert set(found) == set(CONDITIONAL)
    assert set(WITH_MAPS) <= set(CONDITIONAL)
