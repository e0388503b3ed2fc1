"""Figures of the study: what dropout does to a mean and to a line, and predictive distributions side by side.

Each is a class that a table file names under `figures:`; `draw` gets the folder of every row that was run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from medreg.inference.comparators.dropout import fit_linear, log_density_loss
from medreg.inference.comparators.linear_gaussian import LinearGaussian
from medreg.reporting.panels import panels, small_multiples
from medreg.reporting.pictures import Picture
from medreg.reporting.style import INK, METHOD_COLOURS, MUTED
from medreg.studies.dropout.problems import DTYPE, Line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVES = "curves.csv"  # of each row, see `curves.curves_of`
DROPPED = (0.1, 0.3, 0.5)
EXACT_COLOUR, ENGINE_COLOUR, DROPOUT_COLOUR = INK, METHOD_COLOURS[0], METHOD_COLOURS[1]


@dataclass
class MeanFigure:
    """Benchmark A in closed form: two modes where there is one, no contraction, and what the log density loses.

    Attributes:
        far: θ*/σ of the first panel.
    """

    far: float = 5.0

    def draw(self, folders: Mapping[str, Path], labels: Mapping[str, str]) -> Picture:
        """Draw three panels; nothing of the rows is needed."""
        with panels(1, 3, size=(9.6, 2.8)) as (figure, axes):
            self._densities(axes[0, 0])
            self._contraction(axes[0, 1])
            self._loss(axes[0, 2])
        caption = (
            "One unknown mean, noise 1, prior N(0, 1). Left: predictive density after 1000 observations of θ* = "
            f"{self.far:g}; dropout with p = 0.5 has a second mode at 0. Middle: the variance of the posterior falls "
            "as 1/n, that of dropout stays at p(1 − p)θ². Right: what dropout loses in expected log density as n → ∞; "
            "it tends to ln 1/(1 − p)."
        )
        return Picture.of(
            figure, "dropout_mean", caption=caption, alt="Density, variance over n, loss over θ."
        )

    def _densities(self, axis: Axes) -> None:
        model = _mean(1000, self.far)
        one = torch.ones(1, 1, dtype=DTYPE)
        grid = torch.linspace(-4, self.far + 4, 400, dtype=DTYPE)
        exact = model.posterior.predict(one, 1.0).density(grid, 0)
        dropped = fit_linear(model, 0.5, inverted=False).predict(one, 1.0).density(grid, 0)
        axis.plot(grid, exact, color=EXACT_COLOUR, label="exact")
        axis.plot(grid, dropped, color=DROPOUT_COLOUR, label="dropout, p = 0.5")
        axis.axvline(self.far, color=MUTED, linewidth=0.7, linestyle="--")
        axis.set_xlabel("y")
        axis.set_ylabel("predictive density")
        axis.legend(frameon=False)

    def _contraction(self, axis: Axes) -> None:
        counts = np.unique(np.geomspace(1, 10_000, 30).astype(int))
        models = [_mean(int(n), 1.0) for n in counts]
        axis.plot(counts, [m.posterior.covariance.item() for m in models], color=EXACT_COLOUR, label="exact")
        for p, style in zip(DROPPED, (":", "--", "-"), strict=True):
            variances = [fit_linear(m, p, inverted=False).variance.item() for m in models]
            axis.plot(counts, variances, color=DROPOUT_COLOUR, linestyle=style, label=f"dropout, p = {p:g}")
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xlabel("observations n")
        axis.set_ylabel("variance of θ")
        axis.legend(frameon=False)

    def _loss(self, axis: Axes) -> None:
        effects = np.linspace(0, 8, 41)
        for p, style in zip(DROPPED, (":", "--", "-"), strict=True):
            losses = [log_density_loss(float(effect), p) for effect in effects]
            axis.plot(effects, losses, color=DROPOUT_COLOUR, linestyle=style, label=f"p = {p:g}")
        axis.set_xlabel("θ*/σ")
        axis.set_ylabel("loss of log density (nats)")
        axis.legend(frameon=False)


@dataclass
class LineFigure:
    """Benchmark B in closed form: epistemic standard deviation along x, for targets as they are and × 10."""

    def draw(self, folders: Mapping[str, Path], labels: Mapping[str, str]) -> Picture:
        """Draw two panels; nothing of the rows is needed."""
        problem = Line().make(1)
        inputs = torch.linspace(-1, 5, 121, dtype=DTYPE)
        features = problem.features(inputs)
        with panels(1, 2, size=(7.0, 2.8), sharey=True) as (figure, axes):
            for axis, factor in zip(axes[0], (1, 10), strict=True):
                model = problem.models[0].scaled(factor)
                exact = model.posterior.predict(features, model.noise).epistemic_variance.sqrt()
                axis.plot(inputs, exact, color=EXACT_COLOUR, label="exact")
                for p, style in zip(DROPPED, (":", "--", "-"), strict=True):
                    spread = fit_linear(model, p).epistemic_variance(features).sqrt()
                    axis.plot(
                        inputs, spread, color=DROPOUT_COLOUR, linestyle=style, label=f"dropout, p = {p:g}"
                    )
                axis.set_yscale("log")
                axis.set_xlabel("x")
                axis.set_title(f"targets × {factor}")
            axes[0, 0].set_ylabel("epistemic SD")
            axes[0, 0].legend(frameon=False)
        caption = (
            "A line through three points at x = 0, 1, 2. The exact epistemic standard deviation does not depend on the "
            "targets; that of dropout is proportional to them."
        )
        return Picture.of(
            figure, "dropout_scaling", caption=caption, alt="Standard deviation along x, twice."
        )


def _mean(count: int, value: float) -> LinearGaussian:
    ones = torch.ones(count, dtype=DTYPE)
    return LinearGaussian(ones[:, None], value * ones, 1.0, 1.0)


@dataclass
class CurvesFigure:
    """Predictive mean ± 2 SD along x of several rows, and their densities in the middle of the gap.

    Attributes:
        problem: the benchmark, whose first data set is drawn.
        rows: names of rows; those that were not run are left out.
        name: of the picture's file.
        columns: of panels.
    """

    problem: Any
    rows: list[str] = field(default_factory=list)
    name: str = "predictive"
    columns: int = 4

    def draw(self, folders: Mapping[str, Path], labels: Mapping[str, str]) -> Picture | None:
        """Draw a panel a row and one of densities; None where no row was run."""
        curves = {row: pd.read_csv(folders[row] / CURVES) for row in self.rows if self._there(folders, row)}
        if not curves:
            return None
        problem = self.problem.make(1)
        count = 2 * len(curves)
        with small_multiples(count, columns=self.columns, size=(2.3, 1.9), margin=(0.4, 0.4)) as (
            figure,
            axes,
        ):
            for place, (row, curve) in enumerate(curves.items()):
                colour = _colour(row)
                _band(axes[2 * place], curve, problem, colour)
                axes[2 * place].set_title(labels.get(row, row))
                density = curve[curve["kind"] == "density"]
                axes[2 * place + 1].plot(density["x"], density["value"], color=colour, linewidth=1.1)
                axes[2 * place + 1].set_xlim(-3.5, 3.5)
                axes[2 * place + 1].set_ylim(0)
                axes[2 * place + 1].set_title(f"density of y at x = {problem.centre:g}")
        caption = (
            "First data set. Mean ± 2 SD of the predictive distribution, noise included, with the training points; "
            "beside each its density in the middle of the gap."
        )
        return Picture.of(
            figure, self.name, caption=caption, alt=f"Predictive distributions of {', '.join(curves)}."
        )

    @staticmethod
    def _there(folders: Mapping[str, Path], row: str) -> bool:
        return row in folders and (folders[row] / CURVES).is_file()


def _colour(row: str) -> str:
    if row.startswith(("dropout", "common")):
        return DROPOUT_COLOUR
    return EXACT_COLOUR if row in ("exact", "hmc") else ENGINE_COLOUR


def _band(axis: Axes, curve: pd.DataFrame, problem: Any, colour: str) -> None:
    band, one = curve[curve["kind"] == "band"], problem.sets[0]
    low, high = band["mean"] - 2 * band["sd"], band["mean"] + 2 * band["sd"]
    axis.fill_between(band["x"], low, high, color=colour, alpha=0.18, linewidth=0)
    axis.plot(band["x"], band["mean"], color=colour, linewidth=1.1)
    axis.plot(one.inputs, one.targets, ".", color=INK, markersize=2.5)
    axis.set_ylim(-3.5, 3.5)
