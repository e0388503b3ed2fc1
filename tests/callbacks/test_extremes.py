"""Best, median and worst case are kept, whatever order cases come in, and after an interruption."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch

from medreg.callbacks.extremes import Extremes, keep
from medreg.metrics.rows import row
from medreg.tasks.results import CaseResult


def trainer_of(folder):
    strategy = SimpleNamespace(barrier=lambda name: None)
    return SimpleNamespace(default_root_dir=folder, strategy=strategy, is_global_zero=True)


def evaluate(folder, scores, *, metric="dice", ended=True):
    callback, trainer = Extremes(metric=metric), trainer_of(folder)
    for place, (case, score) in enumerate(scores.items()):
        arrays = {"image": torch.rand(4, 5), "label": torch.full((4, 5), 300)}
        result = CaseResult(case, {"net": [row("a", metric, 0.0), row("mean", metric, score)]}, arrays=arrays)
        callback.on_test_batch_end(trainer, None, result, None, place)
    if ended:
        callback.on_test_end(trainer, None)


def kept(folder):
    found = {}
    for file in sorted((folder / "extremes").iterdir()):
        with np.load(file) as arrays:
            found[file.stem] = str(arrays["case"])
            assert arrays["label"].dtype == np.int16
            assert arrays["image"].dtype == np.float32
    return found


def test_three_of_five(tmp_path):
    evaluate(tmp_path, {"p1": 0.7, "p2": 0.9, "p3": 0.1, "p4": 0.8, "p5": float("nan"), "p6": 0.5})
    assert kept(tmp_path) == {"best": "p2", "median": "p1", "worst": "p3"}


def test_of_distances_the_shortest_is_best(tmp_path):
    evaluate(tmp_path, {"p1": 7.0, "p2": 9.0, "p3": 1.0}, metric="hd95_mm")
    assert kept(tmp_path) == {"best": "p3", "median": "p1", "worst": "p2"}


def test_it_goes_on_after_an_interruption(tmp_path):
    evaluate(tmp_path, {"p1": 0.7, "p2": 0.9}, ended=False)
    evaluate(tmp_path, {"p3": 0.1})
    assert kept(tmp_path) == {"best": "p2", "median": "p1", "worst": "p3"}
    evaluate(tmp_path, {"q": 0.6})
    assert kept(tmp_path) == {"best": "q"}


def test_nothing_evaluated_leaves_what_was_there(tmp_path):
    evaluate(tmp_path, {"p1": 0.7, "p2": 0.9, "p3": 0.1})
    keep(tmp_path / "extremes", higher=True)
    assert len(kept(tmp_path)) == 3
