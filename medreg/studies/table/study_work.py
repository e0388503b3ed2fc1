"""Rows that a study makes: a method of a benchmark, a measure of a capture range.

The study's own store in the row's folder says what is done, so that a killed command goes on.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from medreg.config.command import BENCHMARK, CAPTURE_RANGE, Command
from medreg.config.instantiate import build
from medreg.errors import ConfigError, DataError
from medreg.io.digest import digest_of
from medreg.reporting.tables import with_means
from medreg.runs.record import git_state, hardware
from medreg.studies.table.claims import MEAN_OF
from medreg.studies.table.run_folder import COLUMNS, plain_rows, read_outcome
from medreg.studies.table.work import Request, Work, as_override
from medreg.study.unit import Outcome

PRINTED = "printed.txt"  # what the study says of this row alone; the table says it for all


class StudyWork(Work):
    """Work that no launcher starts: `collect` runs the study, or what is missing of it."""

    own_options = True  # those of the training of the run that it tests mean nothing to it

    @abstractmethod
    def rows(self, request: Request) -> pd.DataFrame:
        """Run the study and return columns case, structure, metric, value, unit."""

    def folder(self, cfg: DictConfig, own: Path) -> Path:
        """A folder of this row, seed and configuration."""
        return own.with_name(f"{own.name}_{digest_of(OmegaConf.to_container(cfg, resolve=False))}")

    def collect(self, request: Request) -> Outcome:
        """Run the study; what training took is that of the run that was tested."""
        began = time.perf_counter()
        request.folder.mkdir(parents=True, exist_ok=True)
        rows = plain_rows(self.rows(request))
        trained = read_outcome(request.source).cost if request.source is not None else {}
        kept = {key: trained.get(key) for key in ("cpu_seconds", "steps", "epochs", "parameters")}
        facts = {"seconds": time.perf_counter() - began, "code": dict(request.code), **git_state(), **kept}
        unit = request.unit
        return Outcome(unit.key, unit.digest, tuple(rows), cost={**facts, "hardware": hardware()})


@dataclass
class AttributeWork(StudyWork):
    """A study whose options are the attributes of its class, a dataclass."""

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """Return the attributes, changed by the options; a table's rows are logged by nobody.

        Raises:
            ConfigError: no such attribute, or a value of another kind.
        """
        words = [word for word in overrides if not word.startswith("logger=")]
        try:
            found = OmegaConf.merge(OmegaConf.structured(self), OmegaConf.from_dotlist(words))
        except OmegaConfBaseException as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(f"{type(self).__name__}: {' '.join(words)}: {reason}") from error
        assert isinstance(found, DictConfig)
        return found


class CommandWork(StudyWork):
    """A study with a configuration of its own, `medreg benchmark` or `medreg capture-range`."""

    command: Command

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """Compose as the command does; a table's rows are logged by nobody."""
        return self.command.compose([word for word in overrides if not word.startswith("logger=")])

    def composed(self, request: Request) -> DictConfig:
        """Return the configuration of a request, with its folder as that of all results."""
        return self.compose([*request.overrides, as_override("out", str(request.folder))])


class BenchmarkWork(CommandWork):
    """One method of a benchmark: `overrides: [method=[greedy]]`, or the trained run of another row (`of`)."""

    command = BENCHMARK

    def settings(self, seed: int, source: Path | None) -> dict[str, Any]:
        """Which run is compared; methods that are none have no seed."""
        return {} if source is None else {"runs": [str(source)]}

    def rows(self, request: Request) -> pd.DataFrame:
        """Register, evaluate, and read results.csv."""
        from medreg.studies.benchmark.job import run_benchmark

        with (request.folder / PRINTED).open("w", encoding="utf-8") as stream:
            run_benchmark(self.composed(request), console=Console(file=stream))
        found = pd.read_csv(request.folder / "results.csv", dtype={"case": str})
        return with_means(_of_method(found, "method", request.method, request.folder))


class CaptureRangeWork(CommandWork):
    """One measure of a capture range: `overrides: [measure=[nmi]]`; a learned one is the run of another row (`of`).

    Metrics, with structure "FAMILY" or "FAMILY LOW-HIGH": `success_percent` case by case; `median_residual`, over all
    starts; `capture_range`; `far_field` and `bias` of the landscape.
    """

    command = CAPTURE_RANGE

    def settings(self, seed: int, source: Path | None) -> dict[str, Any]:
        """Which run is the measure; the starts are the same for every seed and measure."""
        return {} if source is None else {"ckpt": str(source)}

    def rows(self, request: Request) -> pd.DataFrame:
        """Run starts and landscapes and summarise them."""
        from medreg.studies.capture_range.job import run_capture

        cfg = self.composed(request)
        with (request.folder / PRINTED).open("w", encoding="utf-8") as stream:
            run_capture(cfg, console=Console(file=stream))
        found = []
        for name, summarise in (("starts", _start_rows), ("landscapes", _landscape_rows)):
            file = request.folder / f"{name}.csv"
            if file.is_file():
                own = _of_method(pd.read_csv(file), "measure", request.method, request.folder)
                found += list(summarise(own, cfg))
        return pd.DataFrame(found, columns=list(COLUMNS))


def _of_method(found: pd.DataFrame, column: str, wanted: str, folder: Path) -> pd.DataFrame:
    names = list(dict.fromkeys(found[column]))
    if wanted and wanted not in names:
        raise DataError(f"{folder} has no {column} {wanted!r}, only {', '.join(names)}.")
    return found[found[column] == (wanted or names[-1])]


def _start_rows(starts: pd.DataFrame, cfg: DictConfig) -> Iterator[tuple[Any, ...]]:
    from medreg.studies.capture_range.summary import bins_table, capture_ranges, success_by_case

    criterion, unit = build(cfg.criterion), str(cfg.unit)
    bins = bins_table(starts, criterion)
    for (family, low, high), group in starts.groupby(["family", "low", "high"], sort=False):
        name = f"{family} {low:g}-{high:g}"
        cases = list(dict.fromkeys(sorted(group["case"])))  # in the order in which success_by_case groups
        for case, share in zip(cases, success_by_case(group, criterion), strict=True):
            yield case, name, "success_percent", 100.0 * share, "percent"
    whole = f"{MEAN_OF}{starts['case'].nunique()} cases"
    for one in bins.itertuples():
        yield whole, f"{one.family} {one.low:g}-{one.high:g}", "median_residual", one.median_final, unit
    for one in capture_ranges(bins, criterion).itertuples():
        yield whole, str(one.family), "capture_range", one.capture_range, "of the family"


def _landscape_rows(landscapes: pd.DataFrame, cfg: DictConfig) -> Iterator[tuple[Any, ...]]:
    from medreg.studies.capture_range.summary import landscape_table

    whole = f"{MEAN_OF}{landscapes['case'].nunique()} cases"
    for one in landscape_table(landscapes).itertuples():
        yield whole, str(one.family), "far_field", one.far_field_fraction, "1"
        yield whole, str(one.family), "bias", one.bias, "of the family"
