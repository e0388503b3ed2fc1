"""Every released Learn2Reg descriptor: sizes after leave-out, no validation case in training, irregularities."""

from __future__ import annotations

import csv
import json
import shutil

import data_fixtures as fixtures
import learn2reg_descriptors as made
import numpy as np
import pytest
import torch
from data_build import data_module

from medreg.data.datasets.learn2reg import Learn2Reg
from medreg.data.datasets.learn2reg_descriptor import read_descriptor
from medreg.data.datasets.learn2reg_pairs import read_pair_list
from medreg.errors import ConfigError, DataError
from medreg.metrics.evaluator import CaseEvaluator

ALL = (
    # task, data configuration, training subjects, training pairs an epoch, validation pairs (official descriptors)
    ("OASIS", "oasis_learn2reg", 394, 394, 19),
    ("AbdomenCTCT", "abdomenctct", 20, 20, 45),
    ("HippocampusMR", "hippocampus", 200, 200, 60),
    ("LungCT", "lungct", 17, 17, 3),
    ("NLST", "nlst", 90, 90, 10),
    ("LUMIR", "lumir", 3384, 3384, 36),
    ("CuRIOUS", "curious", 15, 15, 7),
    ("AbdomenMRCT", "abdomenmrct", 5 + 40 + 49, 5 + 40, 3),
    ("ThoraxCBCT", "thoraxcbct", 11, 22, 6),
)
MADE = {"CuRIOUS": made.curious, "AbdomenMRCT": made.abdomen_mrct, "ThoraxCBCT": made.thorax_cbct}
NO_SELECTION = ("split.val=0", "split.select=null", "cache.kind=none")


@pytest.fixture(scope="module")
def task_folder(request, tmp_path_factory):
    """Folder of a task with its descriptor and empty images."""
    folder = tmp_path_factory.mktemp("tasks")

    def folder_of(task):
        root = folder / task
        if not root.is_dir():
            made.touch_images(root, content_of(request, task))
        return root

    return folder_of


def content_of(request, task):
    if task in MADE:
        return MADE[task]()
    shared = request.getfixturevalue("shared_descriptors")
    return json.loads((shared / f"dataset_json/{task}_dataset.json").read_text())


@pytest.mark.parametrize(("task", "config", "subjects", "pairs", "validation"), ALL)
def test_effective_training_sizes(task_folder, task, config, subjects, pairs, validation):
    data = data_module(config, task_folder(task), *NO_SELECTION)
    assert len(data.split.train) == subjects
    assert len(data.pairs("train")) == pairs
    assert data.split.val == ()
    content = json.loads(next(task_folder(task).glob("*_dataset.json")).read_text())
    listed = content.get("registration_val") or content["validation"]
    found = [(pair.fixed.image.name, pair.moving.image.name) for pair in data.pairs("test")]
    assert found == [tuple(pair[end].split("/")[-1] for end in ("fixed", "moving")) for pair in listed]
    assert len(found) == validation


@pytest.mark.parametrize(("task", "config"), [row[:2] for row in ALL])
def test_no_draw_ever_meets_a_validation_case(task_folder, task, config):
    data = data_module(config, task_folder(task), *NO_SELECTION)
    content = json.loads(next(task_folder(task).glob("*_dataset.json")).read_text())
    listed = content.get("registration_val") or content["validation"]
    official = {name.split("/")[-1] for pair in listed for name in pair.values()}
    cases = {name.split("_")[-2] for name in official}
    data.setup()
    pairs, records = data._sets["train"]
    assert not cases & {record.subject for record in records}
    generator = np.random.default_rng(0)
    met = set()
    for _ in range(1500):
        drawn = data.pairing.draw(pairs[int(generator.integers(len(pairs)))], records, generator)
        met |= {drawn.fixed.image.name, drawn.moving.image.name}
    assert len(met) >= 0.5 * len(pairs)
    assert not met & official
    assert not {name.split("_")[-2] for name in met} & cases


def test_abdomen_pairs_unpaired_mr_with_unpaired_ct_only(task_folder):
    data = data_module("abdomenmrct", task_folder("AbdomenMRCT"), *NO_SELECTION)
    assert data.labels["spleen"] == 2
    pairs, records = data._sets["train"]
    assert [pair.listed for pair in pairs] == [True] * 5 + [False] * 40
    generator = np.random.default_rng(1)
    drawn = [data.pairing.draw(pair, records, generator) for pair in pairs[5:] for _ in range(20)]
    assert {(pair.fixed.modality, pair.moving.modality) for pair in drawn} == {("MR T1w", "CT")}
    assert len({pair.moving.subject for pair in drawn}) > 40
    alone = data_module("abdomenmrct", task_folder("AbdomenMRCT"), *NO_SELECTION, "pairing.unpaired=false")
    assert len(alone.pairs("train")) == 5


def test_renamed_entry_is_found_with_a_warning(task_folder, caplog):
    data = data_module("abdomenmrct", task_folder("AbdomenMRCT"), *NO_SELECTION)
    assert data.pairs("test")[-1].id == "0008_0000__0008_0001"
    assert "AbdomenMRCT_TCIA0008_0000.nii.gz is listed" in caplog.text


def test_the_official_list_is_a_switch(task_folder):
    official = "split.train_on_evaluation=true"
    oasis = data_module("oasis_learn2reg", task_folder("OASIS"), *NO_SELECTION, official)
    assert len(oasis.pairs("train")) == 414  # random pairs of all scans, not the validation pairs alone
    assert "trained on too" in oasis.split.selection
    lung = data_module("lungct", task_folder("LungCT"), *NO_SELECTION, official)
    assert len(lung.pairs("train")) == 20
    lumir = data_module("lumir", task_folder("LUMIR"), *NO_SELECTION, official)
    assert len(lumir.split.train) == 3384  # imagesVal stand in no training list


def test_other_validation_list_of_nlst(task_folder, shared_descriptors, tmp_path):
    root = tmp_path / "NLST"
    shutil.copytree(task_folder("NLST"), root)
    config = shared_descriptors / "evaluation_configs/NLST_VAL_evaluation_config.json"
    for pair in json.loads(config.read_text())["eval_pairs"]:
        for name in pair.values():
            (root / name).touch()
    data = data_module("nlst", root, *NO_SELECTION, f"dataset.validation_list={config}")
    assert len(data.pairs("train")) == 100
    assert [pair.fixed.subject for pair in data.pairs("test")] == [f"{n:04d}" for n in range(101, 111)]
    assert not set(data.split.train) & set(data.split.test)


def test_labels_come_from_the_evaluation_config(task_folder, shared_descriptors):
    config = shared_descriptors / "evaluation_configs/OASIS_VAL_evaluation_config.json"
    options = {"task": "OASIS", "points": "landmarks", "validation_as": "test"}
    assert Learn2Reg(task_folder("OASIS"), **options).labels() == {}
    assert list(Learn2Reg(task_folder("OASIS"), **options, validation_list=config).labels().values()) == [
        *range(1, 36)
    ]


def test_pairs_csv_with_a_blank_in_its_header(task_folder, shared_descriptors, tmp_path):
    listed = read_pair_list(shared_descriptors / "pairs_csv/2020_task_02_pairs_val.csv", option="x")
    assert listed.pairs == (("1", "1"), ("2", "2"), ("3", "3"))
    table = tmp_path / "pairs_val.csv"
    table.write_text("fixed, moving\n4, 4\n5, 5\n")
    data = data_module("lungct", task_folder("LungCT"), *NO_SELECTION, f"dataset.validation_list={table}")
    assert [pair.id for pair in data.pairs("test")] == ["0004_0000__0004_0001", "0005_0000__0005_0001"]
    assert len(data.pairs("train")) == 18


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "fixed, moving\n", "fixed, moving\nx, y\n"])
def test_a_useless_pairs_csv_is_named(task_folder, tmp_path, text):
    table = tmp_path / "pairs_val.csv"
    table.write_text(text)
    with pytest.raises(DataError, match=r"pairs_val\.csv names no pairs|no case number"):
        data_module("lungct", task_folder("LungCT"), f"dataset.validation_list={table}").setup()


def test_neurite_edition_takes_the_pairs_of_2021(tmp_path):
    root = fixtures.neurite(tmp_path)
    people = sorted(int(entry.name.split("_")[2]) for entry in root.iterdir() if entry.is_dir())
    table = tmp_path / "pairs_val.csv"
    table.write_text(f"fixed, moving\n{people[0]}, {people[1]}\n")
    data = data_module("oasis_2021", root, "split.val=0", f"dataset.pairs={table}", "cache.kind=none")
    assert [pair.id for pair in data.pairs("test")] == [
        f"OAS1_{people[0]:04d}_MR1_T1__OAS1_{people[1]:04d}_MR1_T1"
    ]
    assert set(data.split.train).isdisjoint(data.split.test)
    table.write_text("fixed, moving\n438, 439\n")
    with pytest.raises(DataError, match=r"OAS1_0438_MR1 is missing, but data\.dataset\.pairs lists it"):
        data_module("oasis_2021", root, f"dataset.pairs={table}").setup()


def test_points_of_a_pair_of_modalities_come_from_its_folder(tmp_path):
    content = made.cut(made.thorax_cbct(), (0, 1, 11))
    root = made.tiny(tmp_path / "ThoraxCBCT", content, points=("keypoints01Tr", "keypoints02Tr"))
    data = data_module("thoraxcbct", root, *NO_SELECTION)
    cases = {case["case"][0]: case for case in data.test_dataloader()}
    first, second = cases["0011_0001__0011_0000"], cases["0011_0002__0011_0000"]
    torch.testing.assert_close(first["moving_keypoints"][0, 0], torch.tensor([3.0, 4.0, 5.0]))
    torch.testing.assert_close(second["moving_keypoints"][0, 0], torch.tensor([3.25, 4.25, 5.25]))
    torch.testing.assert_close(second["fixed_keypoints"], second["moving_keypoints"])
    assert data.provides >= {"fixed_keypoints", "moving_keypoints"}
    early = data_module("thoraxcbct", root, *NO_SELECTION, "dataset.direction=[1,0]")
    assert [pair.id for pair in early.pairs("test")] == ["0011_0001__0011_0000"]


def test_curious_landmarks_listed_without_a_dot(tmp_path):
    content = made.cut(made.curious(), (1, 3))
    root = made.tiny(tmp_path / "CuRIOUS", content, points=("landmarksTr",))
    data = data_module("curious", root, *NO_SELECTION)
    assert [pair.id for pair in data.pairs("train")] == ["0001_0000__0001_0002"]
    pair = data.pairs("test")[0]
    assert pair.moving.keypoints.name == "CuRIOUS_0003_0002.csv"
    t1 = data_module("curious", root, *NO_SELECTION, "dataset.direction=[1,2]")
    assert t1.pairs("test")[0].id == "0003_0001__0003_0002"
    assert t1.pairs("test")[0].fixed.keypoints.name == "CuRIOUS_0003_0000.csv"  # as the descriptor lists it


def test_landmarks_and_keypoints_are_loaded_at_once(tmp_path):
    content = made.cut(made.curious(), (1, 3))
    root = made.tiny(tmp_path / "CuRIOUS", content, points=("landmarksTr", "keypointsTr"))
    data = data_module("curious", root, *NO_SELECTION, "dataset.more_points=keypoints")
    case = next(iter(data.test_dataloader()))
    torch.testing.assert_close(case["fixed_keypoints"][0, 0], torch.tensor([3.0, 4.0, 5.0]))
    torch.testing.assert_close(case["fixed_more_keypoints"][0, 0], torch.tensor([3.25, 4.25, 5.25]))
    assert data.provides >= {"moving_keypoints", "moving_more_keypoints"}
    evaluator = CaseEvaluator({}, surface=False)
    rows = {
        row.metric: row.value for row in evaluator(case, torch.zeros(1, 3, *case["fixed_image"].shape[2:]))
    }
    assert (rows["tre_mm"], rows["tre_more_mm"]) == (0, 0)
    with pytest.raises(ConfigError, match="more_points"):
        data_module("curious", root, "dataset.more_points=landmarks").setup()


def test_errors_at_points_use_the_voxel_size_of_the_moving_image(tmp_path):
    root = fixtures.learn2reg_paired(tmp_path)  # fixed 1.25 mm, moving 1.0 mm along the second axis
    data = data_module("learn2reg", root, *NO_SELECTION, "dataset.points=keypoints")
    case = next(iter(data.test_dataloader()))
    residual = case["fixed_keypoints"] - case["moving_keypoints"]
    torch.testing.assert_close(residual[0, 0], torch.tensor([0.0, 0.5, 0.0]))
    matrix = case["keypoint_affine"][0, :3, :3].float()
    torch.testing.assert_close(matrix, torch.diag(torch.tensor([1.5, 1.0, 2.0])))
    torch.testing.assert_close(case["spacing_mm"], torch.tensor([[1.5, 1.25, 2.0]]))


def test_selection_takes_subjects_from_the_training_pool(task_folder):
    data = data_module("oasis_learn2reg", task_folder("OASIS"), "split.select=20")
    assert (len(data.split.train), len(data.split.val), len(data.split.test)) == (374, 20, 20)
    assert data.split.selection == "20 subjects set aside from the training pool (data.split.seed=0)"
    with pytest.raises(ConfigError, match=r"select=20 has no effect: the data set publishes 20 validation"):
        data_module(
            "oasis_learn2reg", task_folder("OASIS"), "split.select=20", "dataset.validation_as=val"
        ).setup()
    with pytest.raises(ConfigError, match=r"leaves none of 17 training subjects"):
        data_module("lungct", task_folder("LungCT"), "split.select=17").setup()


def test_both_spellings_of_licence(request):
    folder = request.getfixturevalue("shared_descriptors") / "dataset_json"
    assert read_descriptor(folder / "LUMIR_dataset.json").licence.startswith("CC BY 4.0")
    assert read_descriptor(folder / "NLST_dataset.json").licence.startswith("National Lung")
    assert read_descriptor(folder / "LUMIR_dataset.json").direction == ("0", "0")


def test_alignment_by_masks_puts_their_centres_together(tmp_path):
    lines = [["fixed", "moving", "fixed_mask", "moving_mask", "split"]]
    lines.append([f"{name}.nii.gz" for name in ("fixed", "moving", "fixed_mask", "moving_mask")] + ["test"])
    with (tmp_path / "pairs.csv").open("w", newline="") as file:
        csv.writer(file).writerows(lines)
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    for name, start, origin in (("fixed", 4, 0.0), ("moving", 7, 50.0)):
        mask = np.zeros((16, 14, 12), np.uint8)
        mask[start : start + 4, 3:8, 2:9] = 1
        placed = affine.copy()
        placed[0, 3] = origin
        fixtures.write(tmp_path / f"{name}.nii.gz", mask * 10.0, placed)
        fixtures.write(tmp_path / f"{name}_mask.nii.gz", mask, placed)
    options = ("cache.kind=none", "preprocess.alignment=mask", "preprocess.intensity=null")
    data = data_module("folder", tmp_path / "pairs.csv", *options)
    case = next(iter(data.test_dataloader()))
    torch.testing.assert_close(case["moving_mask"], case["fixed_mask"])
    torch.testing.assert_close(case["moving_image"], case["fixed_image"])
    (tmp_path / "pairs.csv").write_text("fixed,moving,split\nfixed.nii.gz,moving.nii.gz,test\n")
    bare = data_module("folder", tmp_path / "pairs.csv", *options)
    with pytest.raises(DataError, match="alignment=mask needs a mask of both images"):
        next(iter(bare.test_dataloader()))


def test_masked_input_is_background_outside_the_mask(tmp_path):
    root = fixtures.learn2reg_paired(tmp_path)
    options = (*NO_SELECTION, "preprocess.intensity=null", "preprocess.background=-7")
    plain, masked = (
        next(iter(data_module("learn2reg", root, *options, *more).test_dataloader()))
        for more in ((), ("preprocess.mask_input=true",))
    )
    for side in ("fixed", "moving"):
        outside = masked[f"{side}_mask"] == 0
        assert outside.any()
        assert (masked[f"{side}_image"][outside] == -7).all()
        torch.testing.assert_close(masked[f"{side}_image"][~outside], plain[f"{side}_image"][~outside])
