"""The checks of experiments/mad/README.md that need a long training, on the rows of its three seeds."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

ROWS = Path(__file__).resolve().parents[2] / "experiments" / "mad" / "ours.csv"
SEEDS = (1, 2, 3)
SEEN, UNSEEN = "t1t2 section 3", "t1pd section 3"  # contrasts of moving and fixed image
pytestmark = pytest.mark.rows


@pytest.fixture(scope="module")
def rows():
    return pd.read_csv(ROWS).set_index(["pairs", "measure", "family", "quantity"]).sort_index()


def bins(rows, pairs, measure, quantity="success", family="joint"):
    """The values of a measure by the upper edge of their bin."""
    return rows.loc[(pairs, measure, family, quantity)].set_index("high")["value"].sort_index()


def shape(rows, pairs, measure, family, quantity):
    (value,) = rows.loc[[(pairs, measure, family, quantity)], "value"]
    return value


@pytest.mark.parametrize("family", ["rotation", "translation"])
@pytest.mark.parametrize("seed", SEEDS)
def test_m9_minimum_at_alignment(rows, seed, family):
    assert shape(rows, SEEN, f"MAD long seed {seed}", family, "bias") == 0


NARROW = pytest.mark.xfail(strict=True, reason="0.44 and 0.45, where the check asks for 0.5")


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=NARROW), pytest.param(3, marks=NARROW)])
def test_m10_far_field_of_rotation(rows, seed):
    assert shape(rows, SEEN, f"MAD long seed {seed}", "rotation", "far-field fraction") >= 0.5


@pytest.mark.parametrize(("family", "least", "times"), [("rotation", 0.0, 2.0), ("translation", 0.45, 1.5)])
@pytest.mark.parametrize("seed", SEEDS)
def test_m10_far_field_beside_the_others(rows, seed, family, least, times):
    ours = shape(rows, SEEN, f"MAD long seed {seed}", family, "far-field fraction")
    others = [shape(rows, SEEN, measure, family, "far-field fraction") for measure in ("NMI", "NGF")]
    assert ours >= max(least, times * max(others))


@pytest.mark.parametrize("seed", SEEDS)
def test_m11_unseen_contrast(rows, seed):
    assert abs(shape(rows, UNSEEN, f"MAD long seed {seed}", "rotation", "bias")) <= 15


def test_m12_without_random_convolutions_the_minimum_is_elsewhere(rows):
    """More than a grid step (0.05 half-extents) from alignment, so that M9 fails."""
    assert abs(shape(rows, "t1t2", "control", "translation", "bias")) > 0.05


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("edge", [60, 75])
def test_m13_from_sixty_degrees_nearer_than_the_others(rows, seed, edge):
    """Starts of 45 to 60 and of 60 to 75 degrees; the others at a single resolution."""
    ours = bins(rows, SEEN, f"MAD long seed {seed}", "median residual", "rotation")[edge]
    for measure in ("NMI, one level", "NGF, one level"):
        assert ours < bins(rows, SEEN, measure, "median residual", "rotation")[edge]


@pytest.mark.parametrize("seed", SEEDS)
def test_m16_the_unseen_contrast_is_registered_as_well(rows, seed):
    """Success over all joint starts, followed by NMI: within 10 points."""
    seen, unseen = (bins(rows, pairs, f"MAD + NMI long seed {seed}") for pairs in (SEEN, UNSEEN))
    assert len(seen) == len(unseen) == 8
    assert unseen.mean() == pytest.approx(seen.mean(), abs=10)


@pytest.mark.parametrize(("pairs", "others"), [(SEEN, ("NMI", "NGF", "MIND")), (UNSEEN, ("NMI", "NGF"))])
@pytest.mark.parametrize("seed", SEEDS)
def test_more_successes_from_far_away_under_rotation(rows, seed, pairs, others):
    """Where the claim shows: from 60 degrees on, followed by NMI, all with 200 updates; no interval holds 0."""
    for other in others:
        lowest = f"its 95 % interval against {other} 200 updates, low"
        found = bins(rows, pairs, f"MAD + NMI long seed {seed}", lowest, "rotation")
        assert (found[[75, 90]] > 0).all()
