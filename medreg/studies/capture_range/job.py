"""One capture range from beginning to end: pairs, learning rates, landscapes, starts, report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from medreg.config.instantiate import build
from medreg.errors import ConfigError, DataError, require_choice
from medreg.io.atomic import write_text
from medreg.io.outputs import check_folder
from medreg.studies.capture_range.cases import load_cases
from medreg.studies.capture_range.measures import measures_of
from medreg.studies.capture_range.units import MeasureUnits
from medreg.studies.capture_range.views import open_store, write_views
from medreg.study.job import Progress, run_units
from medreg.study.progress import progress_line, tell_failures
from medreg.study.store import Store
from medreg.study.unit import Outcome, Row, Unit

if TYPE_CHECKING:
    from rich.console import Console

PARTS = ("all", "landscapes", "starts", "report")


def run_capture(cfg: DictConfig, *, console: Console) -> Path:
    """Run what is missing and write tables and figures; the same command goes on where it stopped.

    Returns:
        Path of the report.

    Raises:
        ConfigError: an unknown part, family or unit.
        DataError: no usable pairs.
    """
    require_choice("only", cfg.only, PARTS)
    out = Path(str(cfg.out)).expanduser()
    check_folder(out, "out")
    if cfg.only != "report":
        _run_measures(cfg, out, console)
    from medreg.studies.capture_range.report import write_report

    return write_report(out, build(cfg.criterion), reference=str(cfg.reference), unit=str(cfg.unit))


def _run_measures(cfg: DictConfig, out: Path, console: Console) -> None:
    cases = load_cases(list(cfg.pairs), stage=str(cfg.stage), limit=cfg.cases)
    for name, why in cases.left_out.items():
        console.print(f"[yellow]left out[/] {name}: {why}", highlight=False)
    families = {str(name): build(node) for name, node in cfg.families.items() if node is not None}
    measures = [
        MeasureUnits(cfg, one, families, cases) for one in measures_of(cfg, spacing_mm=cases.spacing_mm)
    ]
    measures[0].half(cases)  # an unknown unit is told before any work
    store = open_store(out)
    write_text(out / "capture.yaml", OmegaConf.to_yaml(cfg))
    for units in measures:
        run = _Run(units, store, out, console)
        try:
            if cfg.only != "starts":
                run.landscapes()
            if cfg.only != "landscapes":
                run.starts()
        finally:
            write_views(store, out)


@dataclass(frozen=True)
class _Run:
    """The parts of one measure; a unit that fails does not stop the others."""

    units: MeasureUnits
    store: Store
    out: Path
    console: Console

    def landscapes(self) -> None:
        self._do(self.units.landscapes(), self.units.landscape_rows)
        self._say("landscapes")

    def starts(self) -> None:
        cfg = self.units.cfg
        rate = self._tuned() if cfg.rate is None else float(cfg.rate)
        if rate is not None:
            self._do(self.units.starts(rate), lambda unit: self.units.start_rows(unit, rate))

    def _tuned(self) -> float | None:
        outcomes = self._do([self.units.rate()], self.units.rate_rows)
        for row in (row for one in outcomes for row in one.rows if row["chosen"]):
            self._say(f"learning rate {row['rate']:g}")
            return float(row["rate"])
        return None

    def _do(self, units: Sequence[Unit], work: Callable[[Unit], Iterable[Row]]) -> list[Outcome]:
        cfg, measure = self.units.cfg, self.units.measure
        self._drop_stale(units)
        with progress_line(self.console, measure.title) as line:

            def tell(progress: Progress) -> None:
                line(progress)
                self._tell(progress.last)

            # Commands with other measures may work in the same folder meanwhile.
            outcomes = run_units(
                units, work, self.store, retry=bool(cfg.retry), again=bool(cfg.again), tell=tell,
                stops=(ConfigError, DataError), lock=self.out / f".{measure.name}.lock",
            )  # fmt: skip
        tell_failures(self.console, outcomes)
        return outcomes

    def _drop_stale(self, units: Sequence[Unit]) -> None:
        """Forget what other settings of the measure made, also of families that are not run now."""
        measure = self.units.measure
        today = {_place(unit.key): unit.digest for unit in units}
        part = units[0].key["part"] if units else ""

        def current(found: Outcome) -> bool:
            if (found.key["part"], found.key["measure"]) != (part, measure.name):
                return True
            if any(row["digest"] != measure.digest for row in found.rows):
                return False
            return today.get(_place(found.key), found.digest) == found.digest

        gone = self.store.compact(current)
        if gone:
            self._say(f"{gone} {part} were of other settings and are made again")

    def _tell(self, found: Outcome | None) -> None:
        """Say how many starts of a unit succeeded, stage by stage."""
        if found is None or found.key["part"] != "starts":
            return
        limit = float(self.units.cfg.criterion.final)
        what = "{family} {low:g} to {high:g}, draw {draw}".format(**found.key)
        for title in dict.fromkeys(row["title"] for row in found.rows):
            own = [row["final"] <= limit for row in found.rows if row["title"] == title]
            self.console.print(f"{title}: {what}: {sum(own)} of {len(own)}", highlight=False)

    def _say(self, text: str) -> None:
        self.console.print(f"{self.units.measure.title}: {text}", highlight=False)


def _place(key: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return family and bin of a unit, whose draws are determined by the same settings."""
    return tuple(key.get(name) for name in ("family", "low", "high"))
