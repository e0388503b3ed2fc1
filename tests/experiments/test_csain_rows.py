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


def uniform(rows, model, seed):
    return (
        rows.query("model == @model and seed == @seed and map == 'uniform'").set_index("lambda").sort_index()
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_b1_spread_of_the_jacobian_is_monotone(rows, seed):
    curve = uniform(rows, "csain", seed)
    assert len(curve) == 8
    assert (curve["sd_jacobian"].diff().dropna() < 0).all()
    assert (curve["folds_percent"].diff().dropna() <= 0.02).all()


def gaps(rows):
    """Mean over seeds of CSAIN and of the networks of one λ, rows λ, columns (quantity, model)."""
    both = rows.query("map == 'uniform' and model in ['csain', 'lapirn'] and `lambda` in @FIXED")
    return both.pivot_table(index="lambda", columns="model", values=["dice", "energy"], aggfunc="mean")


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


def test_r1_clapirn_reaches_the_log_of_its_release():
    """Mean Dice over 24 structures of the last four people of neurite-OASIS, 2-D; the log has 0.755 to 0.765."""
    table = pd.read_csv(FOLDER / "ours.csv").query("split == 'oasis, last four' and model == 'cin'")
    if table.empty:
        pytest.skip(
            "not run: experiment=csain_oasis model=cin task.objective.power=1 needs neurite-OASIS and a GPU"
        )
    assert table["dice"].mean() >= 0.755
