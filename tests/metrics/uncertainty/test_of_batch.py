"""A whole case of the batch contract; the closed-form posterior of the simulated prior, which must be calibrated."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from medreg.data.phantoms.simulated_prior import PriorMotion
from medreg.errors import DataError
from medreg.metrics.uncertainty.case import Predicted, displacement_calibration
from medreg.metrics.uncertainty.of_batch import case_calibration, of_samples, probe_voxels
from medreg.metrics.uncertainty.ranks import rank_of
from medreg.metrics.uncertainty.table import rows_for
from medreg.studies.uncertainty.pooling import figures_of
from medreg.studies.uncertainty.reading import Method

LABELS = {"a": 1, "b": 5}


def batch(shape=(12, 14, 10), seed=0):
    generator = torch.Generator().manual_seed(seed)
    dims = len(shape)
    label = torch.zeros(1, 1, *shape, dtype=torch.int64)
    label[..., 2:6, 3:7] = 1
    label[..., 6:8, 3:7] = 5
    mask = torch.ones(1, 1, *shape, dtype=torch.uint8)
    mask[..., 0] = 0
    return {
        "fixed_image": torch.rand(1, 1, *shape, generator=generator),
        "fixed_label": label,
        "fixed_mask": mask,
        "displacement": torch.randn(1, dims, *shape, generator=generator),
        "spacing_mm": torch.tensor([[1.0, 2.0, 1.5][:dims]]),
    }


@pytest.mark.parametrize("shape", [(12, 14, 10), (16, 14)])
def test_a_case_with_everything(shape):
    case = batch(shape)
    generator = torch.Generator().manual_seed(3)
    samples = torch.randn(10, *case["displacement"].shape, generator=generator)
    predicted = of_samples(samples, case["displacement"], mask=case["fixed_mask"])
    assert predicted.covariance.diagonal(dim1=1, dim2=2).movedim(-1, 1) == pytest.approx(
        predicted.std.square(), abs=1e-5
    )
    warped = case["fixed_label"].roll(1, dims=-1)
    share = torch.stack([(case["fixed_label"] == code)[:, 0].double() for code in LABELS.values()], 1)
    found = case_calibration(
        case, predicted, band_mm=3.0, labels=LABELS, probabilities=0.9 * share, warped_label=warped
    )
    metrics = {row.metric for row in found.rows}
    assert {"calibration_error", "nees", "crps_samples_mm", "label_ece", "label_nll", "auroc_sd"} <= metrics
    total = next(count.count for count in found.counts if count.kind == "coverage")
    assert total == int(case["fixed_mask"].sum()) * len(shape)


def test_what_a_case_lacks_gives_no_rows():
    case = batch()
    samples = torch.randn(4, *case["displacement"].shape)
    del case["displacement"]
    predicted = of_samples(samples, None)
    assert predicted.ranks is None
    assert case_calibration(case, predicted, band_mm=3.0, labels=LABELS).rows == []
    with pytest.raises(DataError, match="two or more"):
        of_samples(samples[:1], None)


def test_probes_lie_in_the_mask_and_do_not_repeat():
    case = batch()
    places = probe_voxels(case["displacement"], mask=case["fixed_mask"], count=200, seed=1)
    assert len(set(places.tolist())) == 200
    assert case["fixed_mask"].flatten()[places].all()
    assert len(probe_voxels(case["displacement"], mask=None, count=10**6, seed=1)) == 12 * 14 * 10


SHAPE, SPACING, SIGMA, K = (16, 14), (1.0, 1.0), 0.4, 39


def posterior_case(number: int, *, stretch: float = 1.0):
    """A motion of the prior, seen through white noise; its posterior is Gaussian and known mode by mode."""
    prior = PriorMotion(weight=3.0, shift_voxels=0.5, stride=None, steps=0)
    generator = np.random.default_rng(number)
    modes = [mode.vectors for mode in prior.modes(SHAPE)]

    def field(coefficients):
        return np.einsum("ai,bj,...ij->...ab", *modes, coefficients)

    deviation = prior.deviations(SHAPE, SPACING)
    truth = prior.draw(SHAPE, SPACING, generator)
    seen = np.einsum("ai,bj,...ab->...ij", *modes, truth + SIGMA * generator.standard_normal(truth.shape))
    precision = 1 / SIGMA**2 + 1 / deviation**2
    mean, width = seen / SIGMA**2 / precision, stretch / np.sqrt(precision)
    variance = np.einsum("ai,bj,cij->cab", *(v**2 for v in modes), width**2)
    samples = field(mean + width * generator.standard_normal((K, *mean.shape)))
    tensors = [torch.from_numpy(array)[None] for array in (field(mean), np.sqrt(variance), truth)]
    ranks = rank_of(torch.from_numpy(samples), tensors[2][0])[None]
    eye = torch.eye(2, dtype=torch.float64).view(1, 2, 2, 1, 1) * tensors[1].square().unsqueeze(1)
    return Predicted(tensors[0], tensors[1], covariance=eye, ranks=ranks, samples=K), tensors[2]


def pooled(cases: int, stretch: float) -> dict[str, tuple[float, float]]:
    counts, results = [], []
    for number in range(cases):
        predicted, truth = posterior_case(number, stretch=stretch)
        found = displacement_calibration(predicted, truth, spacing_mm=torch.ones(2))
        counts += [{"case": str(number), **row} for row in rows_for("exact", found.counts)]
        results += [{"case": str(number), **vars(row)} for row in found.rows]
    method = Method("exact", pd.DataFrame(counts).drop(columns="method"), pd.DataFrame(results), "run")
    return {figure.metric: (figure.value, figure.error) for figure in figures_of(method)}


@pytest.mark.slow
def test_the_exact_posterior_is_calibrated_over_200_simulations():
    found = pooled(200, 1.0)
    assert found["calibration_error"][0] < 0.01
    assert found["calibration_error_ranks"][0] < 0.01
    assert found["coverage_90_percent"][0] == pytest.approx(90, abs=1.0)
    assert found["rank_deviation"][0] < 0.02
    for metric, ideal in (("z_rms", 1.0), ("nees", 1.0), ("z_mean", 0.0), ("coverage_bias", 0.0)):
        value, error = found[metric]
        assert abs(value - ideal) < 4 * error
    too_sure = pooled(40, 0.5)
    assert too_sure["nees"][0] == pytest.approx(4, rel=0.05)
    assert too_sure["calibration_error"][0] > 0.15
    assert too_sure["calibration_error_ranks"][0] > 0.15
