"""How results hold on corrupted copies of test images: by the kind of corruption, and by its strength."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import yaml

from medreg.reporting.panels import panels
from medreg.reporting.plots import box_plots
from medreg.reporting.results import RunFolder
from medreg.reporting.style import METHOD_COLOURS
from medreg.reporting.tables import methods_in, overall_structure, unit_of, with_means
from medreg.reporting.vocabulary import heading

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = ("motion", "spike", "ghosting", "bias")  # of data=acdc_corrupted, where no configuration says more
CLEAN = "clean"
COLUMNS = ("original", "kind", "copy", "strength")


def with_corruption(
    results: pd.DataFrame, kinds: Sequence[str] = KINDS, *, strength: float = 1.0
) -> pd.DataFrame:
    """Add what the ids of cases say of corruption: `patient007_ED_motion_1` is copy 1 of `patient007_ED`.

    Args:
        results: rows with the columns of results.csv.
        kinds: names of corruptions.
        strength: of the copies, where the table has no column of it.

    Returns:
        The rows with the columns `COLUMNS`: the id of the clean image, kind ("clean" for other cases), number of the
        copy (0 for clean ones) and strength (0 for clean ones).
    """
    words = "|".join(re.escape(kind) for kind in kinds)
    found = results["case"].astype(str).str.extract(rf"^(.+)_({words})_(\d+)$")
    known = found[1].notna()
    given = results["strength"].astype(float) if "strength" in results else strength
    return results.assign(
        original=found[0].where(known, results["case"]),
        kind=found[1].where(known, CLEAN),
        copy=found[2].where(known, 0).astype(int),
        strength=np.where(known, given, 0.0),
    )


def corruption_of(run: RunFolder) -> tuple[tuple[str, ...], float]:
    """Return the kinds of corruption that a run was tested on, and their strength, as its configuration says."""
    try:
        tree = yaml.safe_load(run.config) if run.config else {}
    except yaml.YAMLError:
        tree = {}
    data = tree.get("data") if isinstance(tree, Mapping) else None
    said: Any = data.get("corruption") if isinstance(data, Mapping) else None
    said = said if isinstance(said, Mapping) else {}
    return tuple(map(str, said.get("kinds") or KINDS)), float(said.get("strength", 1.0))


def corrupted_results(runs: Sequence[RunFolder]) -> pd.DataFrame:
    """Return the results of several runs with `COLUMNS`, each with the strength of its own configuration."""
    frames = []
    for run in runs:
        kinds, strength = corruption_of(run)
        if not run.results.empty:
            frames.append(with_corruption(run.results, kinds, strength=strength))
    if not frames:
        return pd.DataFrame()
    joined = pd.concat(frames, ignore_index=True)
    texts = [name for name in joined.columns if name not in ("value", "copy", "strength")]
    joined[texts] = joined[texts].fillna("")  # columns that only one kind of case has
    return joined


def draw_by_kind(results: pd.DataFrame, *, metric: str = "dice") -> Figure | None:
    """Box plots of a metric over the whole image, one group a kind of corruption and one colour a method.

    Args:
        results: of `with_corruption`, of one data set and split.
        metric: to show.

    Returns:
        The figure, or None where there is no number.
    """
    whole = _whole(results, metric)
    return box_plots(whole.assign(structure=whole["kind"]), metric=metric)


def draw_by_strength(results: pd.DataFrame, *, metric: str = "dice") -> Figure | None:
    """Mean of a metric against the strength of each kind of corruption, one panel a kind and one line a method.

    Bars are a standard error over cases. Clean images among those of a run are the strength 0 of every kind; other
    data sets, whose cases may have the same names, are left out.

    Args:
        results: of `corrupted_results`, of several strengths.
        metric: to show.

    Returns:
        The figure, or None where fewer than two strengths have a number.
    """
    whole = _whole(results, metric)
    copies = whole["kind"] != CLEAN
    whole = whole[copies | whole["run"].isin(set(whole.loc[copies, "run"]))]
    if whole["strength"].nunique() < 2:
        return None
    kinds = [str(kind) for kind in pd.unique(whole["kind"]) if kind != CLEAN]
    methods = methods_in(whole)
    with panels(1, len(kinds), size=(2.6 * len(kinds) + 0.6, 2.9), sharey=True) as (figure, axes):
        for axis, kind in zip(axes[0], kinds, strict=True):
            for number, method in enumerate(methods):
                rows = whole[(whole["method"] == method) & whole["kind"].isin((kind, CLEAN))]
                groups = rows.groupby("strength")["value"]
                mean, error = groups.mean(), groups.sem()
                colour = METHOD_COLOURS[number % len(METHOD_COLOURS)]
                axis.errorbar(
                    mean.index, mean, yerr=error.fillna(0.0), color=colour, marker="o", markersize=3,
                    linewidth=1.3, label=method,
                )  # fmt: skip
            axis.set(title=kind, xlabel="strength")
            axis.grid(axis="y")
        axes[0, 0].set_ylabel(heading(metric, unit_of(whole, metric)))
        handles, names = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper right", ncols=min(len(names), 4), frameon=False)
    return figure


def _whole(results: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Rows of a metric over the whole image; the mean over structures where there is no other."""
    full = with_means(results)
    rows = full[(full["metric"] == metric) & np.isfinite(full["value"])]
    return rows[rows["structure"] == overall_structure(full, metric)]
