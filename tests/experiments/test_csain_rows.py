"""The checks of experiments/csain/README.md, section 5, on the rows that the three seeds left in experiments/csain."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "experiments" / "csain"
SEEDS = (1, 2, 3)
pytestmark = pytest.mark.rows
FIXED = (0.2, 0.5, 0.8)


@pytest.fixture(scope="module")
def rows():
    table = pd.read_csv(FOLDER / "ours.csv").query("split == 'test'")
    return table[
        table["steps"].isin([2880, 1440]) & ~((table["model"] == "csain") & (table["steps"] == 1440))
    ]


@pytest.fixture(scope="module")
def search():
    return pd.read_csv(FOLDER / "search.csv").set_index(["model", "search", "choice"]).sort_index()


def by_regions(search, seed):
    return search.loc[(f"2880 steps, seed {seed}", "adam label_dice regions dataset")]["dice"]


def uniform(rows, model, seed):
    return (
        rows.query("model == @model and seed == @seed and map == 'uniform'").set_index("lambda").sort_index()
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_b1_smoothness_is_monotone(rows, seed):
    curve = uniform(rows, "csain", seed)
    assert len(curve) == 8
    assert (curve["energy"].diff().dropna() < 0).all()
    assert (curve["sd_jacobian"].diff().dropna() < 0).all()
    assert (curve["folds_percent"].diff().dropna() <= 0.02).all()
    assert curve["dice"].idxmax() < 1


SMALL_REGION = pytest.mark.xfail(
    strict=True, reason="0.71: the small soft region is held by stiff surroundings"
)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("stiff", ["inside", "outside"])
@pytest.mark.parametrize("region", ["half", "central"])
def test_b2_two_regions(rows, region, stiff, seed, request):
    if (region, stiff, seed) == ("central", "outside", 1):
        request.applymarker(SMALL_REGION)
    maps = rows.query("model == 'csain' and seed == @seed and map == @region").set_index(
        ["lambda", "lambda_inside"]
    )
    soft = maps.loc[(0.05, 0.05)]
    found = maps.loc[(0.05, 1.0) if stiff == "inside" else (1.0, 0.05)]
    free = "outside" if stiff == "inside" else "inside"
    assert found[f"energy_{stiff}"] <= 0.6 * soft[f"energy_{stiff}"]
    assert found[f"energy_{free}"] == pytest.approx(soft[f"energy_{free}"], rel=0.25)


def gaps(rows):
    """Mean over seeds of CSAIN and of the networks of one λ, rows λ, columns (quantity, model)."""
    both = rows.query("map == 'uniform' and model in ['csain', 'lapirn'] and `lambda` in @FIXED")
    return both.pivot_table(index="lambda", columns="model", values=["dice", "energy"], aggfunc="mean")


def test_b3_no_accuracy_is_lost(rows):
    dice = gaps(rows)["dice"]
    assert list(dice.index) == list(FIXED)
    assert (dice["csain"] - dice["lapirn"] >= -0.01).all()


@pytest.mark.xfail(
    strict=True, reason="Dice is better by up to 0.022; E is 41 % lower at 0.2 and 31 % higher at 0.8"
)
def test_b3_as_stated_equality(rows):
    found = gaps(rows)
    assert ((found["dice"]["csain"] - found["dice"]["lapirn"]).abs() <= 0.01).all()
    assert ((found["energy"]["csain"] / found["energy"]["lapirn"] - 1).abs() <= 0.2).all()


def test_b4_equal_to_conditional_instance_normalisation(rows):
    """Dice against E, both means over seeds, where the two curves overlap."""
    energies = np.linspace(0.055, 0.2, 30)
    differences = []
    for seed in SEEDS:
        curves = [uniform(rows, model, seed).sort_values("energy") for model in ("cin", "csain")]
        cin, csain = (np.interp(energies, curve["energy"], curve["dice"]) for curve in curves)
        differences.append(cin - csain)
    assert np.abs(np.mean(differences, axis=0)).max() <= 0.01


@pytest.mark.parametrize("seed", SEEDS)
def test_b5_the_search_does_not_lose(search, seed):
    for kind in ("regions", "scalar"):
        dice = search.loc[(f"2880 steps, seed {seed}", f"adam label_dice {kind} dataset")]["dice"]
        assert dice["found"] >= dice["uniform, best of the search cases"] - 0.001


@pytest.mark.parametrize(
    "seed",
    [
        1,
        pytest.param(
            2, marks=pytest.mark.xfail(strict=True, reason="its regions gain nothing to begin with")
        ),
        3,
    ],
)
def test_b6_shuffled_weights_are_worse(search, seed):
    dice = by_regions(search, seed)
    shuffled = dice[dice.index.str.startswith("shuffled")]
    assert len(shuffled) == 6
    assert shuffled.mean() < dice["found"]


def test_r2_found_weights_against_the_best_network_of_one_weight(rows, search):
    """On the phantom, as the paper claims it on OASIS: no less Dice, and no more folds."""
    fixed = rows.query("model == 'lapirn'").groupby("lambda")[["dice", "folds_percent"]].mean()
    best = fixed.loc[fixed["dice"].idxmax()]
    found = search.xs(("adam label_dice regions dataset", "found"), level=("search", "choice"))
    found = found.loc[[f"2880 steps, seed {seed}" for seed in SEEDS]].mean(numeric_only=True)
    assert found["dice"] >= best["dice"]
    assert found["folding_percent"] <= best["folds_percent"]


def test_r1_clapirn_reaches_the_log_of_its_release():
    """Mean Dice over 24 structures of the last four people of neurite-OASIS, 2-D; the log has 0.755 to 0.765."""
    table = pd.read_csv(FOLDER / "ours.csv").query("split == 'oasis, last four' and model == 'cin'")
    if table.empty:
        pytest.skip(
            "not run: experiment=csain_oasis model=cin task.objective.power=1 needs neurite-OASIS and a GPU"
        )
    assert table["dice"].mean() >= 0.755
