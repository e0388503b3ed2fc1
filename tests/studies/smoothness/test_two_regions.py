"""A map of two λ where the field is known: u = 0.1·(1 − λ(x))·x along the first axis."""

from __future__ import annotations

import pytest
import torch
from conditional_models import ShiftByWeight
from memory_run import run_of

from medreg.errors import CompositionError, ConfigError
from medreg.inference.registration import Registration
from medreg.models.conditional import Regions
from medreg.studies.smoothness.control import evaluate_found
from medreg.studies.smoothness.methods import Trace, TracePoint
from medreg.studies.smoothness.planes import field_plane, uniform_answers
from medreg.studies.smoothness.problem import Effort
from medreg.studies.smoothness.result import GroupResult, SearchResult
from medreg.studies.smoothness.run_cases import Cases
from medreg.studies.smoothness.scores import Scores
from medreg.studies.smoothness.two_regions import answers, eroded, region_of, two_region_rows

SHAPE = (24, 20)


class RampByWeight(ShiftByWeight):
    """u = reach·(1 − λ(x))·x."""

    def forward(self, fixed, moving, **context):
        field = super().forward(fixed, moving, **context).displacement
        field = field * torch.arange(float(fixed.shape[2]))[:, None]
        return Registration(displacement=field, regularised=field, parameters=field)


def batch():
    labels = torch.zeros(2, 1, *SHAPE, dtype=torch.int64)
    labels[:, :, 12:] = 3
    images = torch.rand(2, 1, *SHAPE, generator=torch.Generator().manual_seed(0))
    return {
        "fixed_image": images,
        "moving_image": images,
        "fixed_label": labels,
        "moving_label": labels.clone(),
        "spacing_mm": torch.ones(2, 2),
        "case": ["a", "a"],
    }


def cases():
    return Cases("test", [batch()], {"x": 3}, {})


@pytest.mark.parametrize("codes", [None, [0]])
def test_energy_follows_the_map(codes):
    """|∇u|² is (0.1·(1 − λ))² well inside a region; the same region A as half of the image or as label 0."""
    run = run_of(RampByWeight(0.1, takes_maps=True))
    rows = {row["map"]: row for row in two_region_rows(run, cases(), codes, low=0.5, high=1.0)}
    free = 0.05**2
    wanted = {
        "0.5 everywhere": (free, free * 8 / 9),  # nothing is past the last of 9 rows of voxels
        "1 everywhere": (0, 0),
        "A 1, B 0.5": (0, free * 8 / 9),
        "A 0.5, B 1": (free, 0),
    }
    for name, energies in wanted.items():
        assert (rows[name]["energy_a"], rows[name]["energy_b"]) == pytest.approx(energies, rel=1e-4, abs=1e-9)


def test_erosion_keeps_what_is_further_than_three_voxels():
    region = torch.zeros(1, 1, *SHAPE, dtype=torch.bool)
    region[:, :, :12] = True
    assert torch.equal(eroded(region).nonzero()[:, 2].unique(), torch.arange(9))


def test_regions_that_a_case_lacks(tmp_path):
    with pytest.raises(ConfigError, match="7: a has none of these labels"):
        region_of(batch(), [7])
    with pytest.raises(CompositionError, match="one λ for the whole pair"):
        answers(
            run_of(ShiftByWeight(1.0, takes_maps=False)), batch(), region_of(batch(), None), low=0.1, high=1
        )


def test_planes_of_answers():
    run = run_of(RampByWeight(0.1, takes_maps=True))
    found = uniform_answers(run, batch(), [0.0, 0.5])
    planes = [field_plane(batch(), answer) for answer in found]
    assert [plane.name for plane in planes] == ["λ = 0", "λ = 0.5"]
    assert planes[1].jacobian == pytest.approx(1.05, rel=1e-4)
    assert planes[0].displacement[0, 10] == pytest.approx(1.0)
    assert planes[1].energy[3] == pytest.approx(0.05**2, rel=1e-4)


def test_found_weights_are_measured_beside_uniform_and_shuffled_ones(tmp_path):
    """Identical labels: every motion lowers Dice, so λ = 1 is the best uniform one, and 0.4 the worst region."""
    run = run_of(ShiftByWeight(4.0, takes_maps=True, smoothness=0.5))
    trace = Trace([TracePoint(0, 1, -0.5, (1.0, 0.4))])
    groups = (GroupResult(("a",), trace, Effort(1, 0, 0.1)),)
    result = SearchResult({}, Regions(((3,),)), groups, {})
    table = evaluate_found(run, result, cases(), cases(), Scores(tmp_path), step=0.25, shuffles=3, seed=0)
    assert table["choice"].tolist() == [
        "model's own",
        "uniform, best of the search cases",
        "found",
        "shuffled 1",
    ]
    rows = table.set_index("choice")
    assert rows.loc["uniform, best of the search cases", "smoothness"] == "1.000 1.000"
    assert rows.loc["uniform, best of the search cases", "dice"] == 1.0
    assert rows.loc["shuffled 1", "smoothness"] == "0.400 1.000"
    assert 0 < rows.loc["model's own", "dice"] < 1
