"""What a benchmark is about: its data, its methods, and where the results of each lie."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from medreg.baselines.method import Method
from medreg.data.datasets.learn2reg_config import EvaluationConfig, PairPaths
from medreg.studies.benchmark.cases import TaskCases
from medreg.studies.learn2reg.names import accepted_names
from medreg.studies.learn2reg.runtime import write_runtime
from medreg.study.store import Store
from medreg.study.unit import Outcome, Unit


@dataclass(frozen=True)
class MethodFolder:
    """`<out>/<method>/`: fields, the store of its cases, log, runtime.csv and metrics.json."""

    path: Path

    @property
    def fields(self) -> Path:
        """Folder of displacement fields."""
        return self.path / "fields"

    @property
    def metrics(self) -> Path:
        """Metric file of the evaluation."""
        return self.path / "metrics.json"

    @property
    def log(self) -> Path:
        """What the workers printed."""
        return self.path / "worker.log"

    def field(self, pair: PairPaths) -> Path:
        """File of a field, by its short name, `disp_F_M`, where the challenge takes it."""
        return self.fields / f"{accepted_names(pair, rule='2022')[0]}.nii.gz"

    def store(self) -> Store:
        """Open the store of its cases."""
        return Store(self.path / "cases.jsonl")

    def unit(self, pair: PairPaths, digest: str = "") -> Unit:
        """Return the unit of a case, determined by a digest."""
        return Unit({"method": self.path.name, "case": pair.case}, digest, (self.field(pair),))

    def write_runtimes(self, outcomes: Iterable[Outcome]) -> None:
        """Write runtime.csv of the cases that succeeded."""
        write_runtime(self.path, ({**one.key, **row} for one in outcomes for row in one.rows))


@dataclass(frozen=True)
class Entry:
    """A method of a benchmark under its name, with its folder and what became of its cases."""

    name: str
    method: Method
    folder: MethodFolder
    outcomes: tuple[Outcome, ...] = ()

    @property
    def failures(self) -> dict[str, str]:
        """Case → why there is no field."""
        return {one.key["case"]: one.error for one in self.outcomes if one.failed}

    @property
    def costs(self) -> dict[str, Mapping[str, object]]:
        """Case → what its field took: a row of `runtime.csv` without the case."""
        return {one.key["case"]: row for one in self.outcomes for row in one.rows}


@dataclass(frozen=True)
class Benchmark:
    """A composed benchmark.

    Attributes:
        name: of the benchmark.
        out: folder of all results.
        task: task folder of the data.
        cases: the data.
        config: pairs, shape and metrics.
        entries: methods that can run here, in order.
        left_out: name → why it cannot.
    """

    name: str
    out: Path
    task: Path
    cases: TaskCases
    config: EvaluationConfig
    entries: tuple[Entry, ...]
    left_out: Mapping[str, str]
