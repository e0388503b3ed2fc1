"""Segmentation: it learns, it says how well, and its cases reach table, pictures and page without a word of pairs."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from labelled_images import LABELS, LabelledImages, labelled_batch
from monai.losses import DiceCELoss
from torch import nn

from medreg.callbacks.pictures import Pictures
from medreg.callbacks.results import Results
from medreg.errors import CompositionError, NumericalError
from medreg.metrics.segmentation import SegmentationEvaluator
from medreg.reporting.html import write_report
from medreg.tasks.segmentation import SegmentationTask

pytestmark = pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers")


class Net(nn.Module):
    """Two convolutions; it remembers the shapes that it has seen."""

    def __init__(self, classes=3):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.LeakyReLU(), nn.Conv2d(8, classes, 3, padding=1)
        )
        self.seen = []

    def forward(self, image):
        self.seen.append(tuple(image.shape[2:]))
        return self.layers(image)


def task_of(model=None, **options):
    torch.manual_seed(0)
    return SegmentationTask(
        model or Net(),
        DiceCELoss(softmax=True),
        evaluator=SegmentationEvaluator(LABELS),
        multiple=16,
        optimiser=lambda parameters: torch.optim.Adam(parameters, lr=1e-2),
        name="net",
        **options,
    )


def trainer_of(folder, *callbacks, epochs=1):
    return pl.Trainer(
        default_root_dir=folder,
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
        log_every_n_steps=1,
    )


def test_it_learns_and_predicts_the_codes_of_the_data(tmp_path):
    task, trainer = task_of(), trainer_of(tmp_path, epochs=6)
    trainer.fit(task, LabelledImages())
    assert float(trainer.callback_metrics["val/dice_mean"]) > 0.8
    assert {"train/loss", "val/loss"} <= set(trainer.callback_metrics)
    found = task.predict(labelled_batch(7)["image"])
    assert set(found.unique().tolist()) == {0, 2, 5}


def test_images_are_padded_for_the_network_and_cut_back():
    task = task_of()
    assert task.predict(torch.rand(2, 1, 24, 20)).shape == (2, 1, 24, 20)
    assert task.model.seen == [(32, 32)]


def test_wrong_number_of_classes_names_the_option():
    with pytest.raises(CompositionError, match=r"model\.out_channels=3"):
        task_of(Net(classes=5)).predict(torch.rand(1, 1, 16, 16))


def test_loss_that_is_not_finite_names_the_case():
    batch = labelled_batch(3)
    batch["image"][0, 0, 0, 0] = torch.nan
    with pytest.raises(NumericalError, match="c3"):
        task_of().training_step(batch, 0)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """A run folder as an evaluation leaves it, and its report."""
    folder = tmp_path_factory.mktemp("run")
    task, results = task_of(), Results()
    results.labels = {"run": "run", "model": "net", "data": "discs", "split": "test"}
    results.begin(folder, {"checkpoint": "none"}, main=True)
    trainer_of(folder, results, Pictures(cases=1)).test(task, LabelledImages(), verbose=False)
    record = {
        "status": "finished",
        "model": "net",
        "data": "discs",
        "sections": list(task.sections),
        "labels": LABELS,
    }
    (folder / "run.json").write_text(json.dumps(record))
    write_report(folder)
    return folder


def test_table_has_overlap_surfaces_and_volumes_and_no_pairs(evaluated):
    with (evaluated / "results.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == [
        "run", "model", "data", "split", "case", "method", "structure", "metric", "value", "unit",
    ]  # fmt: skip
    assert {row["case"] for row in rows} == {"c200", "c201", "c202"}
    assert {row["method"] for row in rows} == {"net"}
    assert {"dice", "hd95_mm", "assd_mm", "volume_ml", "volume_error_ml", "time_s"} <= {
        r["metric"] for r in rows
    }


def test_probabilities_near_outlines_are_judged_and_phases_are_columns():
    batch = {**labelled_batch(3, slices=2), "phase": ["ES", "ES"]}
    result = task_of(band_mm=3.0).test_step(batch, 0)
    rows = {(row.structure, row.metric): row.value for row in result.rows["net"]}
    assert {"label_ece_top", "label_nll", "label_brier"} <= {metric for _, metric in rows}
    assert 0 < rows["all", "label_ece_top"] < 1
    assert {name for name, metric in rows if metric == "label_ece"} == {*LABELS, "mean"}
    assert rows["mean", "iou"] <= rows["mean", "dice"]
    assert result.columns == {"phase": "ES"}
    assert {row["kind"] for row in result.tables["calibration"]} == {"reliability", "reliability_top"}
    plain = {row.metric for row in task_of().test_step(batch, 0).rows["net"]}
    assert "label_nll" not in plain


def test_arrays_are_those_of_the_kind(evaluated):
    with np.load(evaluated / "cases" / "c200.npz") as arrays:
        assert set(arrays.files) == {"image", "label", "prediction", "spacing_mm", "affine"}
        assert arrays["prediction"].shape == arrays["image"].shape == (3, 24, 20)


def test_page_shows_cases_and_the_worst_of_them(evaluated):
    page = (evaluated / "report.html").read_text()
    assert "net on discs" in page
    assert "The 3 cases that went worst" in page
    assert "true and with predicted outlines" in page
    assert "could not be drawn" not in page
    assert "fixed" not in page.replace("fixed;", "")
    assert (evaluated / "figures" / "case_c200.png").stat().st_size > 5000


def test_volumes_are_shown_in_three_views():
    from medreg.reporting.label_pictures import draw

    label = np.zeros((10, 12, 6), dtype=int)
    label[3:7, 4:9, 2:4] = 2
    arrays = {
        "image": label * 0.3,
        "label": label,
        "prediction": np.roll(label, 1, 0),
        "spacing_mm": np.ones(3),
    }
    figure = draw({**arrays, "affine": np.eye(4)}, "case", {2: "cavity"})
    titles = [axis.get_title() for axis in figure.axes if axis.get_title()]
    assert [title.split()[0] for title in titles] == ["axial", "coronal", "sagittal"]
    with pytest.raises(ValueError, match="shapes"):
        draw({**arrays, "prediction": label[1:]}, "case", {})
