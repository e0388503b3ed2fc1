"""Runs whose answers are known, and hearts as files."""

from __future__ import annotations

import numpy as np
import pytest
from hearts_run import SIZE, cheart, hearts_run, known_heart, stand_in, without_pictures, written

from medreg.generating.run import GenerationRun


@pytest.fixture(scope="session", autouse=True)
def allowed():
    """The models of `hearts_models` may be built."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDREG_ALLOW", "hearts_models")
        yield


@pytest.fixture(scope="session")
def runs(allowed, tmp_path_factory):
    """Folders of runs by name."""
    folder = tmp_path_factory.mktemp("runs")
    return {
        "beating": hearts_run(folder / "beating", stand_in("Beating")),
        "certain": hearts_run(folder / "certain", stand_in("Certain")),
        "still": hearts_run(folder / "still", stand_in("Still")),
        "ageing": hearts_run(folder / "ageing", stand_in("Shrinking", 2), phases="edes"),
        "sexless": hearts_run(folder / "sexless", cheart(told=("sex", "group"))),
        "cheart": hearts_run(folder / "cheart", cheart()),
    }


@pytest.fixture(scope="session")
def opened(runs):
    """The same runs, opened."""
    return {name: GenerationRun.open(folder) for name, folder in runs.items()}


@pytest.fixture
def turned():
    """Affine of a file whose axes are those of no model: mirrored, permuted below, far from the origin."""
    affine = np.diag([-5.0, -5.0, 8.0, 1.0])
    affine[:3, 3] = (300.0, -40.0, 77.0)
    return affine


@pytest.fixture
def heart():
    """(T, X, Y, Z) of a heart of the size of the models."""
    return known_heart()


@pytest.fixture
def files(tmp_path, heart):
    """Label maps of that heart: of the cycle, of ED, of ES."""
    assert heart.shape[1:] == SIZE
    return {
        "cycle": written(tmp_path / "heart.nii.gz", heart),
        "ed": written(tmp_path / "ed.nii.gz", heart[:1]),
        "es": written(tmp_path / "es.nii.gz", heart[5:6]),
    }


@pytest.fixture
def plain(monkeypatch):
    """Nothing is drawn."""
    without_pictures(monkeypatch)
