"""Evaluation configs from official files and from descriptors; names of displacement files."""

from __future__ import annotations

import json

import learn2reg_tasks as tasks
import pytest

from medreg.data.datasets.learn2reg_config import EvaluationConfig, PairPaths, read_config
from medreg.data.datasets.learn2reg_descriptor import read_descriptor
from medreg.errors import ConfigError, DataError, DatasetNotFound
from medreg.studies.learn2reg.config import config_from_descriptor
from medreg.studies.learn2reg.names import accepted_names, field_names
from medreg.studies.learn2reg.truth import TaskFolder, point_folders


def pair(task, fixed, moving):
    return PairPaths(f"./imagesTr/{task}_{fixed}.nii.gz", f"./imagesTr/{task}_{moving}.nii.gz")


def official(folder, name):
    return json.loads((folder / "evaluation_configs" / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "name",
    [
        "AbdomenCTCT_VAL",
        "HippocampusMR_VAL",
        "LungCT_VAL",
        "NLST_VAL",
        "OASIS_VAL",
        "OASIS_TEST",
        "LUMIR_VAL_Landmark",
    ],
)
def test_official_configs_come_back_as_they_are(shared_descriptors, name):
    wanted = official(shared_descriptors, f"{name}_evaluation_config.json")
    wanted["task_name"] = wanted.pop("name", wanted.get("task_name"))
    path = shared_descriptors / "evaluation_configs" / f"{name}_evaluation_config.json"
    assert read_config(path).to_json() == wanted


@pytest.mark.parametrize(
    ("task", "config", "given"),
    [
        ("AbdomenCTCT", "AbdomenCTCT_VAL_evaluation_config.json", {}),
        ("HippocampusMR", "HippocampusMR_VAL_evaluation_config.json", {}),
        (
            "NLST",
            "NLST_VAL_evaluation_config_v0.2.json",
            {},
        ),  # the descriptor lists the pairs of that version
        ("OASIS", "OASIS_VAL_evaluation_config.json", {"labels": range(1, 36)}),  # names no labels
        ("LungCT", "LungCT_VAL_evaluation_config.json", {"points": ("landmarks", "keypoints")}),  # unlisted
    ],
)
def test_config_of_a_descriptor_is_the_official_one(shared_descriptors, task, config, given):  # C5
    file = shared_descriptors / "dataset_json" / f"{task}_dataset.json"
    found = config_from_descriptor(read_descriptor(file), **given).to_json()
    assert found == official(shared_descriptors, config)


def test_lumir_lists_its_pairs_under_validation(shared_descriptors):
    file = shared_descriptors / "dataset_json" / "LUMIR_dataset.json"
    config = config_from_descriptor(read_descriptor(file))
    assert len(config.pairs) == 36
    assert config.shape == (160, 224, 192)


def content(**changes):
    return {
        "name": "Task",
        "tensorImageShape": {"0": [8, 9, 7]},
        "registration_val": [
            {key: f"./imagesTr/Task_000{n}_0000.nii.gz" for n, key in ((1, "fixed"), (2, "moving"))}
        ],
    } | changes


def descriptor(tmp_path, **changes):
    path = tmp_path / "Task_dataset.json"
    path.write_text(json.dumps(content(**changes)), encoding="utf-8")
    return read_descriptor(path)


def test_integer_keys_and_absolute_looking_paths(tmp_path):
    pairs = [{"0": "/imagesTr/Task_0001_0000.nii.gz", "1": "/imagesTr/Task_0001_0001.nii.gz"}]
    found = config_from_descriptor(
        descriptor(tmp_path, registration_val=pairs, registration_direction={"fixed": 1, "moving": 0})
    )
    assert found.pairs[0].case == "0001_0001<--0001_0000"
    assert found.pairs[0].stem == "0001_0001_0001_0000"


def test_no_pairs_of_a_split_and_no_shape_say_so(tmp_path):
    with pytest.raises(ConfigError, match="no pairs under registration_test"):
        config_from_descriptor(descriptor(tmp_path), split="test")
    with pytest.raises(ConfigError, match="choose val, test or train"):
        config_from_descriptor(descriptor(tmp_path), split="validation")
    with pytest.raises(ConfigError, match="tensorImageShape"):
        config_from_descriptor(descriptor(tmp_path, tensorImageShape={}))


def config_file(tmp_path, **changes):
    written = {
        "task_name": "Task",
        "evaluation_methods": [{"name": "DSC", "metric": "dice", "labels": ["1", "2"]}],
        "expected_shape": [8, 9, 7, 3],
        "eval_pairs": content()["registration_val"],
    } | changes
    path = tmp_path / "config.json"
    path.write_text(json.dumps(written), encoding="utf-8")
    return path


def test_label_ids_given_as_text_are_numbers(tmp_path):  # as the organisers' command line writes them
    assert read_config(config_file(tmp_path)).metrics[0].labels == (1, 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"evaluation_methods": [{"name": "A", "metric": "sdlogj"}] * 2}, "must be unique"),
        (
            {"evaluation_methods": [{"name": "A", "metric": "nmi"}]},
            r"evaluation_methods.0.metric: .*'sdlogj', .*, not 'nmi'",
        ),
        ({"evaluation_methods": [{"name": "A", "metric": "dice"}]}, "needs labels"),
        ({"evaluation_methods": [{"name": "A", "metric": "tre"}]}, "needs dest"),
        ({"expected_shape": [8, 9, 7]}, r"\[X, Y, Z, 3\]"),
        ({"eval_pairs": [{"fixed": "a.nii.gz", "moving": "b.nii.gz"}]}, "4-digit case"),
        ({"eval_pairs": [{"fixed": "./imagesTr/Task_0001_0000.nii.gz"}]}, "moving"),
    ],
)
def test_a_config_that_makes_no_sense_says_why(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        read_config(config_file(tmp_path, **changes))


def test_a_descriptor_that_makes_no_sense_names_file_and_key(tmp_path):
    with pytest.raises(DataError, match=r"Task_dataset.json: shapes?|tensorImageShape.*not 'big'"):
        descriptor(tmp_path, tensorImageShape={"0": ["big", 9, 7]})
    pairs = [{"fixed": "./imagesTr/Task_0001_0000.nii.gz"}]
    with pytest.raises(
        ConfigError, match=r"Task_dataset.json: An entry of registration_val names no fixed and"
    ):
        config_from_descriptor(descriptor(tmp_path, registration_val=pairs))


def test_unreadable_configs(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_config(tmp_path / "absent.json")
    (tmp_path / "broken.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match="not valid JSON"):
        read_config(tmp_path / "broken.json")


NAMES = {  # task, fixed, moving, what 2022 accepts, what 2025 accepts
    "OASIS": ("0395_0000", "0396_0000", ["disp_0395_0396"], ["disp_0395_0000_0396_0000"]),
    "NLST": ("0101_0000", "0101_0001", ["disp_0101_0101"], ["disp_0101_0101", "disp_0101_0000_0101_0001"]),
    "CuRIOUS": ("0003_0000", "0003_0002", ["disp_0003_0000_0003_0002"], ["disp_0003_0000_0003_0002"]),
    "ThoraxCBCT": ("0011_0001", "0011_0000", ["disp_0011_0001_0011_0000"], ["disp_0011_0001_0011_0000"]),
}


@pytest.mark.parametrize("task", NAMES)
def test_names_that_each_rule_accepts(task):
    fixed, moving, old, new = NAMES[task]
    paths = pair(task, fixed, moving)
    assert accepted_names(paths, rule="2022") == old
    assert accepted_names(paths, rule="2025") == new
    assert set(accepted_names(paths)) == {*old, *new}


def test_names_to_write():
    paths = pair("OASIS", "0395_0000", "0396_0000")
    assert field_names(paths, naming="short") == ["disp_0395_0396"]
    assert field_names(paths, naming="long") == ["disp_0395_0000_0396_0000"]
    assert field_names(paths) == ["disp_0395_0396", "disp_0395_0000_0396_0000"]
    with pytest.raises(ConfigError, match="naming"):
        field_names(paths, naming="middle")
    with pytest.raises(ConfigError, match="rule"):
        accepted_names(paths, rule="2019")


def test_folders_of_points():
    assert point_folders(pair("ThoraxCBCT", "0011_0002", "0011_0000"), "keypoints")[0] == "keypoints02"
    assert point_folders(pair("CuRIOUS", "0003_0000", "0003_0002"), "landmarks")[0] == "landmarks"
    assert point_folders(pair("NLST", "0101_0000", "0101_0001"), "keypoints")[0] == "keypoints"


def test_config_of_a_task_folder_takes_labels_and_points_from_disk(tmp_path):
    task = tasks.paired(tmp_path)
    pairs = json.loads(task.config.read_text(encoding="utf-8"))["eval_pairs"]
    written = content(
        name="Paired", tensorImageShape={"0": list(tasks.SHAPE)}, registration_val=pairs, labels={"0": {}}
    )
    (task.data / "Paired_dataset.json").write_text(json.dumps(written), encoding="utf-8")
    found = TaskFolder(task.data).config()
    assert isinstance(found, EvaluationConfig)
    assert found.to_json()["evaluation_methods"] == json.loads(task.config.read_text())["evaluation_methods"]
    assert TaskFolder(tmp_path).path == task.data  # the folder above, too
    del written["tensorImageShape"]
    (task.data / "Paired_dataset.json").write_text(json.dumps(written), encoding="utf-8")
    assert TaskFolder(task.data).config().shape == tasks.SHAPE  # of the fixed images
    tasks.save(task.data / "imagesTr" / "Paired_0003_0000.nii.gz", tasks.label_map((1,), shape=(23, 26, 20)))
    with pytest.raises(ConfigError, match="22×26×20 and 23×26×20"):
        TaskFolder(task.data).config()
    (task.data / "Other_dataset.json").write_text(json.dumps(written | {"name": "Other"}), encoding="utf-8")
    with pytest.raises(DatasetNotFound, match="choose one by --task"):
        TaskFolder(task.data).config()
    assert TaskFolder(task.data, task="Other").descriptor().name == "Other"


def test_folders_that_are_no_task(tmp_path):
    with pytest.raises(DatasetNotFound, match="not a folder"):
        TaskFolder(tmp_path / "absent")
    with pytest.raises(DatasetNotFound, match="no folder of images"):
        TaskFolder(tmp_path)
    for name in ("A", "B"):
        (tmp_path / name / "imagesTr").mkdir(parents=True)
    with pytest.raises(ConfigError, match="the tasks A, B"):
        TaskFolder(tmp_path)
    assert TaskFolder(tmp_path, task="B").path == tmp_path / "B"
    with pytest.raises(DatasetNotFound, match="--config"):
        TaskFolder(tmp_path / "A").config()
