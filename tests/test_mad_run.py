"""A distance is trained by one command, judged, and used by others; the commands of the how-to page run."""

from __future__ import annotations

import csv
import re
import shlex
from pathlib import Path

import pytest
import torch
from small_run import TINY, run, run_folder, tiny_acdc

from medreg.config.compose import compose
from medreg.config.instantiate import build
from medreg.models.mad import load_distance

PAGE = Path(__file__).resolve().parents[1] / "docs" / "how-to" / "mad.md"
SMALL = (
    "model=mad",
    "data=brain_phantom",
    "data.dataset.prepare.subjects=5",
    "data.dataset.prepare.validation_subjects=2",
    "data.dataset.prepare.size=[20,24,16]",
    "data.dataset.prepare.spacing_mm=[8.0,8.0,10.0]",
    "data.dataset.prepare.template_spacing_mm=4.0",
    "data.split.val=0.34",
    "data.preprocess.spacing_mm=null",
    "data.preprocess.size=[24,24,null]",
    "data.slices.evaluate=[0.5]",
    "data.loader.batch_size=4",
    "data.loader.repeat=1",
    "model.size=16",
    "model.channels=[8,8]",
    "model.hidden=8",
    "task.probe.repeats=4",
    "task.probe.rotation_deg=[-90,-30,0,30,90]",
    "task.probe.translation=[-0.6,-0.2,0.0,0.2,0.6]",
    "task.tta_k=2",
    "trainer.max_epochs=2",
    "logger=none",
)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return [*SMALL, f"data.dataset.root={tmp_path_factory.mktemp('brain')}"]


@pytest.fixture(scope="module")
def trained(small, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    code, output = run(folder, small)
    assert code == 0, output
    return run_folder(folder)


def table(file):
    with file.open() as stream:
        return list(csv.DictReader(stream))


@pytest.mark.slow
def test_a_run_judges_every_pair_of_contrasts(trained):
    rows = table(trained / "results.csv")
    assert {row["structure"] for row in rows} == {"MR T1w to MR T1w", "MR T2w to MR T1w", "all"}
    assert {row["method"] for row in rows} == {"constant", "mad", "mad+tta"}
    assert {"distance_l1_mm", "distance_pearson", "rotation_far_field", "translation_bias"} <= {
        row["metric"] for row in rows
    }
    assert all(row["value"] not in ("", "nan") for row in rows if row["metric"] == "distance_l1_mm")


@pytest.mark.slow
def test_a_run_keeps_points_curves_and_their_pictures(trained):
    points, curves = table(trained / "distances.csv"), table(trained / "landscapes.csv")
    assert len(points) == 2 * 2 * 2 * 4  # people, contrasts, methods, poses
    assert len(curves) == 2 * 2 * 2 * (5 + 5)
    assert {row["motion"] for row in curves} == {"rotation", "translation"}
    for name in ("calibration", "landscapes", "training"):
        assert (trained / "figures" / f"{name}.png").stat().st_size > 0
    assert "figures" not in (trained / "report.html").read_text()[:200]
    names = {row["name"] for row in table(trained / "history.csv")}
    assert {"train/loss", "val/loss", "val/distance_pearson", "val/rotation_spearman"} <= names


@pytest.mark.slow
def test_its_folder_is_a_distance(trained):
    assert load_distance(str(trained)).size == 16


def test_training_sees_one_contrast_only(small):
    data = build(compose([*small, "data=brain_phantom_t1t2"]).data)
    for stage in ("train", "val"):
        assert {r.modality for item in data.items(stage) for r in item.parts.values()} == {"MR T1w"}
    assert {pair.moving.modality for pair in data.pairs("test")} == {"MR T1w", "MR T2w"}
    assert all(pair.fixed.subject == pair.moving.subject for pair in data.pairs("test"))
    loader = data.train_dataloader()
    batch = next(iter(loader))["image"]
    assert batch.shape == (4, 1, 24, 24)
    share = (loader.dataset.images > 0.02).flatten(1).float().mean(1)
    assert float(share.min()) > 0.15


def test_the_pairs_of_a_step_depend_on_seed_and_step_only(small):
    torch.manual_seed(0)
    task = build(compose(small).task)
    image = torch.rand(2, 1, 16, 16)

    def made(number):
        torch.rand(3)  # whatever else happens
        return task.misalignment(image, scaling=task.model.scaling, generator=task.generator(number)).fixed

    assert torch.equal(made(3), made(3))
    assert not torch.equal(made(3), made(4))


def commands():
    """Every `python train.py` of the page that uses a distance, as words."""
    text = PAGE.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = re.findall(r"^python train\.py (.*similarity=mad.*)$", text, flags=re.M)
    return [shlex.split(line, comments=True) for line in lines]


def test_the_page_shows_every_use():
    shown = {word for words in commands() for word in words}
    assert {"model=affine", "model=optimise", "model=gradirn", "model=voxelmorph"} <= shown


TINY_MODELS = {
    "model=gradirn": ["model.regulariser.channels=4", "model.num_repeat=[1,1,1]"],
    "model=voxelmorph": ["model.encoder=[4,4]", "model.decoder=[4]", "model.out=[4]"],
    "model=optimise": ["model.levels=[{shrink: 1, sigma: 0.0, iterations: 2, learning_rate: 0.1}]"],
    "model=affine": ["model.levels=[{shrink: 1, sigma: 0.0, iterations: 2, learning_rate: 0.02}]"],
}


@pytest.mark.slow
@pytest.mark.parametrize("words", commands(), ids=lambda words: words[0])
def test_commands_of_the_page_run(words, trained, tmp_path):
    """On tiny images of another kind, with the tiny distance."""
    tiny = [word for word in TINY if not word.startswith(("model", "data=", "trainer.max_epochs"))]
    own = [word for word in words if not word.startswith(("data", "similarity.ckpt"))]
    model = next(word for word in own if word.startswith("model="))
    data = ["data=acdc", f"data.dataset.root={tiny_acdc(tmp_path / 'acdc')}"]
    more = [f"similarity.ckpt={trained}", "trainer.max_epochs=1", "similarity.tta_k=1", *TINY_MODELS[model]]
    code, output = run(tmp_path, [*own, *data, *tiny, *more])
    assert code == 0, output
    dice = [
        float(row["value"]) for row in table(run_folder(tmp_path) / "results.csv") if row["metric"] == "dice"
    ]
    assert dice


@pytest.mark.slow
def test_what_is_wrong_is_said_in_a_sentence(trained, tmp_path):
    data = ["data=acdc", f"data.dataset.root={tiny_acdc(tmp_path / 'acdc')}", *TINY[1:6], "logger=none"]
    for words, sentence in (
        (["similarity=mad"], "similarity.ckpt=RUN"),
        (["similarity=mad", f"similarity.ckpt={tmp_path / 'gone'}"], "No checkpoint at"),
        (["similarity=mad", f"ckpt={trained}"], "ckpt=… is the checkpoint of the model"),
    ):
        code, output = run(tmp_path / words[-1].replace("/", "_"), ["model=optimise", *data, *words])
        assert code == 1
        assert sentence in output
        assert "Traceback" not in output


@pytest.mark.slow
def test_volumes_train_too(small, tmp_path):
    volumes = [
        "experiment=mad_3d",
        *(
            word
            for word in small
            if not word.startswith(("model", "data.slices", "data.preprocess", "trainer"))
        ),
        "data.preprocess.spacing_mm=null",
        "data.preprocess.size=[16,16,16]",
        "data.loader.batch_size=2",
        "model.size=16",
        "model.channels=[8,8]",
        "model.hidden=8",
        "trainer.max_steps=2",
        "trainer.accumulate_grad_batches=1",
        "trainer.check_val_every_n_epoch=1",
    ]
    code, output = run(tmp_path, volumes)
    assert code == 0, output
    rows = table(run_folder(tmp_path) / "results.csv")
    assert {row["structure"] for row in rows} == {"MR T1w to MR T1w", "MR T2w to MR T1w", "all"}
    assert load_distance(str(run_folder(tmp_path))).ndim == 3
