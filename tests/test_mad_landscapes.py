"""A distance trained for a minute has useful landscapes: checks M8 to M10 of experiments/mad/training.md."""

from __future__ import annotations

import pandas as pd
import pytest
from small_run import trained

HALF_MM = 63 / 2 * 3.0  # half-extent of 64 pixels of 3 mm
T1_T1, T2_T1 = "MR T1w to MR T1w", "MR T2w to MR T1w"


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    words = ["experiment=mad_phantom", "trainer.max_epochs=3", "seed=1"]
    return trained(tmp_path_factory.mktemp("distance"), words)


@pytest.mark.slow
def test_fresh_appearances_of_one_image_are_told_apart_by_their_pose(judged):
    """M8: Spearman ≥ 0.9 with the size of a rotation and of a translation; better than the constant guess."""
    results = pd.read_csv(judged / "results.csv")
    mean = results.groupby(["method", "structure", "metric"])["value"].mean()
    assert mean["mad", T1_T1, "rotation_spearman"] >= 0.9
    assert mean["mad", T1_T1, "translation_spearman"] >= 0.9
    assert mean["mad", "all", "distance_l1_mm"] < 0.8 * mean["constant", "all", "distance_l1_mm"]


@pytest.mark.slow
def test_the_minimum_between_unseen_contrasts_is_at_alignment(judged):
    """M9 and M10 (a part): T2 to T1 after training on T1, minimum at the identity or beside it, wide enough."""
    curves = pd.read_csv(judged / "landscapes.csv").query("contrast == @T2_T1 and method == 'mad'")
    mean = curves.groupby(["motion", "value"])["distance_mm"].mean() / HALF_MM
    rotation, translation = mean["rotation"], mean["translation"]
    assert abs(rotation.idxmin()) <= 15
    assert abs(translation.idxmin()) <= 0.1 + 1e-9
    assert (rotation[60] + rotation[-60]) / 2 - rotation[0] >= 0.08
    assert translation[0.6] > translation[0.2] > translation[0.0]
