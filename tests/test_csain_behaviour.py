"""A CSAIN trained for a minute or two behaves as CSAIN should: checks B1, B2, B5, B6 of experiments/csain/README.md."""

from __future__ import annotations

import pandas as pd
import pytest
import small_run
import torch

from medreg.cli.main import main

pytestmark = pytest.mark.slow

LAMBDAS = ("0", "0.1", "0.2", "0.4", "0.6", "0.8", "1")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Small slices gain nothing from a second thread, which waits busily for the first."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Run folder of a sixth of the steps of experiments/csain, as `medreg draw-smoothness` leaves it."""
    made = small_run.trained(
        tmp_path_factory.mktemp("csain"), ["mode=fit", "experiment=csain_phantom", "seed=1"]
    )
    words = ["draw-smoothness", str(made), "--split", "val", "--two", "0.05", "1", "--smoothness", *LAMBDAS]
    assert main(words) == 0
    return made


def test_b1_smoothness_is_monotone_in_the_weight(trained):
    curve = pd.read_csv(trained / "smoothness" / "curve.csv").sort_values("smoothness")
    assert list(curve["smoothness"]) == [float(weight) for weight in LAMBDAS]
    assert (curve["gradient_energy"].diff().dropna() < 0).all()
    assert (curve["sd_log_jacobian"].diff().dropna() < 0).all()
    assert (curve["folding_percent"].diff().dropna() <= 0.02).all()
    assert curve["smoothness"].iloc[curve["dice"].argmax()] < 1
    assert curve["gradient_energy"].iloc[0] > 2 * curve["gradient_energy"].iloc[-1]


@pytest.mark.parametrize(
    ("stiff", "free", "named"),
    [("a", "b", "A 1, B 0.05"), ("b", "a", "A 0.05, B 1")],
    ids=["A stiff", "B stiff"],
)
def test_b2_each_region_has_its_own_smoothness(trained, stiff, free, named):
    energy = pd.read_csv(trained / "smoothness" / "two_regions.csv").set_index("map")
    soft = energy.loc["0.05 everywhere"]
    found = energy.loc[named]
    assert found[f"energy_{stiff}"] <= 0.6 * soft[f"energy_{stiff}"]
    assert found[f"energy_{free}"] == pytest.approx(soft[f"energy_{free}"], rel=0.25)


def test_b5_b6_the_search_gains_and_its_regions_matter(trained):
    options = "--regions --set iterations=15 --set learning_rate=0.05 --evaluate test --shuffles 3"
    assert main(["search-smoothness", str(trained), *options.split()]) == 0
    folder = trained / "smoothness"
    trace = pd.read_csv(folder / "adam_label_dice_regions_dataset_trace.csv")
    assert trace["objective"].min() < trace["objective"].iloc[0]
    moved = trace.filter(like="smoothness_").diff().iloc[1].abs()
    assert (moved > 0).all()  # every region has a gradient
    dice = pd.read_csv(folder / "adam_label_dice_regions_dataset_test.csv").set_index("choice")["dice"]
    shuffled = dice[dice.index.str.startswith("shuffled")]
    assert len(shuffled) == 3
    assert dice["found"] > shuffled.mean()
    assert dice["found"] >= dice["uniform, best of the search cases"] - 0.001
