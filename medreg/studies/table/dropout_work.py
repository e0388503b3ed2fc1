"""Rows of "Is MC dropout Bayesian?": one method on the data sets of one benchmark, beside the truth."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from medreg.io.digest import digest_of
from medreg.studies.dropout.curves import curves_of
from medreg.studies.dropout.measures import Bench
from medreg.studies.table.run_folder import COLUMNS
from medreg.studies.table.study_work import AttributeWork
from medreg.studies.table.work import Request
from medreg.study.view import write_csv

CURVES = "curves.csv"  # beside the rows, for figures
_BENCHES: dict[str, Bench] = {}


@dataclass
class DropoutWork(AttributeWork):
    """One method on all data sets of a benchmark; its options are the attributes of the class.

    In a table file the node says `_recursive_: false`, because parts of it are built here.

    Attributes:
        problem: benchmark, a node with `_target_`.
        truth: method whose predictive distribution is right, a node.
        method: method of this row, a node.
        data_sets: number of data sets, the cases of the table.
        scaling: whether targets ten times as large are fitted, too.
        seed: of everything random in the method, set by the table.
    """

    problem: dict[str, Any] = field(default_factory=dict)
    truth: dict[str, Any] = field(default_factory=dict)
    method: dict[str, Any] = field(default_factory=dict)
    data_sets: int = 6
    scaling: bool = False
    seed: int = 1

    def settings(self, seed: int, source: Path | None) -> dict[str, Any]:
        """The seed."""
        return {"seed": seed}

    def rows(self, request: Request) -> pd.DataFrame:
        """Fit, measure, and keep the curves of the first data set for the figures."""
        cfg = self.compose(request.overrides)
        bench, node = bench_of(cfg), _plain(cfg.method)
        found = bench.fit(node, cfg.seed)
        large = bench.fit_large(node, cfg.seed) if cfg.scaling else None
        write_csv(curves_of(bench.problem, found[0]), request.folder / CURVES, digits=6)
        return pd.DataFrame(bench.measure(found, large), columns=list(COLUMNS))


def bench_of(cfg: DictConfig) -> Bench:
    """Return the benchmark of a configuration; rows of one command share the fit of its truth."""
    parts = _plain(cfg.problem), _plain(cfg.truth), int(cfg.data_sets)
    key = digest_of(*parts)
    if key not in _BENCHES:
        _BENCHES[key] = Bench(*parts, seed=1)
    return _BENCHES[key]


def _plain(node: Any) -> dict[str, Any]:
    found = OmegaConf.to_container(node, resolve=True)
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}
