"""Curves of one fit for the figures: the predictive distribution along x, and its density at the centre."""

from __future__ import annotations

import pandas as pd
import torch

from medreg.studies.dropout.fitted import Fitted
from medreg.studies.dropout.problems import DTYPE, Problem

INPUTS = torch.linspace(-4, 4, 161, dtype=DTYPE)
KEPT = 400  # points of a density


def curves_of(problem: Problem, fitted: Fitted) -> pd.DataFrame:
    """Return columns kind ("band" or "density"), x, mean, sd, value of one fit.

    A band has the mean and the standard deviation of y at x; a density has its value at y = x.
    """
    found = fitted.predict(INPUTS)
    band = pd.DataFrame({"x": INPUTS, "mean": found.mean, "sd": found.variance.sqrt()}).assign(kind="band")
    grid, density = fitted.density(problem.centre)
    every = max(1, len(grid) // KEPT)
    of_y = pd.DataFrame({"x": grid[::every], "value": density[::every]}).assign(kind="density")
    return pd.concat([band, of_y], ignore_index=True)
