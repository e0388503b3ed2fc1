"""Networks that answer with samples are trained, evaluated and combined by commands."""

from __future__ import annotations

import numpy as np
import pytest
from small_run import TINY, run, run_folder, tiny_acdc

from medreg.runs.trained import TrainedRun


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny_acdc(tmp_path_factory.mktemp("acdc"))


def spread_of(folder):
    """Displacement and its standard deviation of every case of a run that draws pictures."""
    files = sorted((folder / "cases").glob("*.npz"))
    assert files
    for file in files:
        with np.load(file) as arrays:
            yield arrays["displacement"], arrays["displacement_std"]


def evaluated(tmp_path, options):
    code, output = run(tmp_path, options)
    assert code == 0, output
    folder = run_folder(tmp_path)
    for displacement, spread in spread_of(folder):
        assert spread.shape == displacement.shape
        assert np.isfinite(spread).all()
        assert spread.max() > 0
    return folder


def of_network(data, *more):
    kept = [option for option in TINY if not option.startswith("model")]
    return [*kept, f"data.dataset.root={data}", "pictures=2", *more]


@pytest.mark.slow
def test_probabilistic_voxelmorph(data, tmp_path):
    small = ["model.encoder=[4,4]", "model.decoder=[4,4,4]", "model.samples=4"]
    folder = evaluated(tmp_path, of_network(data, "model=voxelmorph_probabilistic", *small))
    assert "train/divergence" in (folder / "history.csv").read_text()
    assert (folder / "report.html").is_file()


@pytest.mark.slow
def test_dropout_ensemble_and_equivariance(data, tmp_path):
    small = [option for option in TINY if option.startswith("model")]
    dropped = ["model.dropout=0.2", "model.samples=4", "model.last_layer_scale=1.0"]
    runs = [
        evaluated(tmp_path / f"seed{seed}", of_network(data, *small, *dropped, f"seed={seed}"))
        for seed in (1, 2)
    ]
    together = ["model=ensemble", f"model.runs=[{runs[0]},{runs[1]}]"]
    ensemble = evaluated(tmp_path / "ensemble", of_network(data, *together))
    members = [TrainedRun.open(each) for each in runs]
    assert TrainedRun.open(ensemble).registration.runs == [str(member.path) for member in members]
    perturbed = ["model=equivariance", f"model.run={runs[0]}", "model.samples=3"]
    evaluated(tmp_path / "equivariance", of_network(data, *perturbed))
