"""One capture range from beginning to end: pairs, learning rates, landscapes, starts, report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from medreg.config.instantiate import build
from medreg.errors import ConfigError, DataError, NumericalError
from medreg.models.affine import AffineRegistration
from medreg.studies.capture_range.cases import Cases, load_cases
from medreg.studies.capture_range.families import Family
from medreg.studies.capture_range.landscape import landscape
from medreg.studies.capture_range.measures import Measure, measures_of
from medreg.studies.capture_range.registering import lengths, register_starts
from medreg.studies.capture_range.rows import LANDSCAPES, RATES, STARTS, Table

if TYPE_CHECKING:
    from rich.console import Console

PARTS = ("all", "landscapes", "starts", "report")


@dataclass(frozen=True)
class Job:
    """What is the same for all measures.

    Attributes:
        cfg: the composed configuration.
        families: by name.
        cases: pairs that are reported.
        console: where progress is told.
    """

    cfg: DictConfig
    families: Mapping[str, Family]
    cases: Cases
    console: Console

    @property
    def out(self) -> Path:
        """Folder of the results."""
        return Path(str(self.cfg.out)).expanduser()

    def half(self, cases: Cases) -> Tensor:
        """Half-extents in the unit of residuals."""
        return lengths(cases.shape, cases.spacing_mm, unit=str(self.cfg.unit))


def run_capture(cfg: DictConfig, *, console: Console) -> Path:
    """Run what is missing and write tables and figures; the same command goes on where it stopped.

    Returns:
        Path of the report.

    Raises:
        ConfigError: an unknown part, family or unit.
        DataError: no usable pairs.
    """
    if cfg.only not in PARTS:
        raise ConfigError(f"only={cfg.only} is unknown; choose {', '.join(PARTS)}.")
    out = Path(str(cfg.out)).expanduser()
    if cfg.only != "report":
        cases = load_cases(list(cfg.pairs), stage=str(cfg.stage), limit=cfg.cases)
        for name, why in cases.left_out.items():
            console.print(f"[yellow]left out[/] {name}: {why}", highlight=False)
        families = {str(name): build(node) for name, node in cfg.families.items() if node is not None}
        job = Job(cfg, families, cases, console)
        measures = measures_of(cfg, spacing_mm=cases.spacing_mm)
        out.mkdir(parents=True, exist_ok=True)
        (out / "capture.yaml").write_text(OmegaConf.to_yaml(cfg), encoding="utf-8")
        for measure in measures:
            _run_measure(job, measure)
    from medreg.studies.capture_range.report import write_report

    return write_report(out, build(cfg.criterion), reference=str(cfg.reference), unit=str(cfg.unit))


def _run_measure(job: Job, measure: Measure) -> None:
    """All parts of one measure; a measure that fails does not stop the others."""
    parts = {"landscapes": (_landscapes,), "starts": (_starts,), "all": (_landscapes, _starts)}
    try:
        for part in parts[str(job.cfg.only)]:
            part(job, measure)
    except NumericalError as error:
        job.console.print(f"[yellow]{measure.title}[/] stopped: {error}", highlight=False)


def _table(job: Job, name: str, columns: tuple[str, ...], measure: Measure) -> Table:
    table = Table(job.out / name, columns=columns)
    gone = sum(table.drop_stale(label, measure.digest) for label, _ in measure.labels)
    if gone:
        job.console.print(
            f"{measure.title}: {gone} rows of {name} were of other settings and are made again",
            highlight=False,
        )
    return table


def _landscapes(job: Job, measure: Measure) -> None:
    table = _table(job, "landscapes.csv", LANDSCAPES, measure)
    model = measure.registration(1.0)
    cases, (label, title) = job.cases, measure.labels[0]  # the first stage's, whose landscape it is
    for name, family in job.families.items():
        if not family.line or table.done(label, measure.digest, family=name):
            continue
        poses = family.along(torch.tensor(family.line), ndim=len(cases.shape))
        found = landscape(model, cases.fixed, cases.moving, poses=poses, spacing_mm=cases.spacing_mm)
        table.add(
            [
                {
                    "measure": label,
                    "title": title,
                    "digest": measure.digest,
                    "family": name,
                    "value": value,
                    "case": case,
                    "energy": found[i, k].item(),
                }
                for i, case in enumerate(cases.names)
                for k, value in enumerate(family.line)
            ]
        )
    job.console.print(f"{title}: landscapes", highlight=False)


def _starts(job: Job, measure: Measure) -> None:
    rate = float(job.cfg.rate) if job.cfg.rate is not None else _tuned_rate(job, measure)
    table = _table(job, "starts.csv", STARTS, measure)
    model = measure.registration(rate)
    for name, family in job.families.items():
        for number, bounds in enumerate(family.bins):
            where = {"family": name, "low": bounds[0], "high": bounds[1]}
            kept = int(job.cfg.draws if job.cfg.first_draws is None else job.cfg.first_draws)
            done = table.done(measure.name, measure.digest, **where)
            if len(done) >= len(job.cases.names) * kept:
                continue
            there = {(row["case"], row["draw"]) for row in done}
            made = _bin_rows(job, model, job.cases, family, number, draws=int(job.cfg.draws), kept=kept)
            rows = [row for row in made if (row["case"], str(row["draw"])) not in there]
            _keep(
                job, table, measure, rows, {"rate": rate, **where}, f"{name} {bounds[0]:g} to {bounds[1]:g}"
            )


def _keep(
    job: Job,
    table: Table,
    measure: Measure,
    rows: list[dict[str, Any]],
    common: Mapping[str, Any],
    what: str,
) -> None:
    """Add the rows of a bin, those of a first stage under its own name."""
    for stage, (name, title) in enumerate(measure.labels):
        own = [row for row in rows if row["stage"] == stage]
        label = {"measure": name, "title": title, "digest": measure.digest}
        table.add([{**label, **common, **row} for row in own])
        good = sum(float(row["final"]) <= float(job.cfg.criterion.final) for row in own)
        job.console.print(f"{title}: {what}: {good} of {len(own)}", highlight=False)


def _bin_rows(
    job: Job, model: AffineRegistration, cases: Cases, family: Family, number: int, *, draws: int, kept: int
) -> Iterator[dict[str, Any]]:
    """Rows of the first draws of a bin, a row a stage; starts depend on seed, bin, pairs and `draws` only."""
    half = job.half(cases)
    seed = 1000 * int(job.cfg.seed) + number
    poses = family.draw(family.bins[number], count=len(cases.names) * draws, half=half, seed=seed)
    index = torch.arange(len(cases.names)).repeat_interleave(draws)
    starts = torch.arange(len(index))
    for chunk in starts[starts % draws < kept].split(int(job.cfg.batch)):
        rows = index[chunk]
        outcomes = register_starts(
            model,
            cases.fixed[rows],
            cases.moving[rows],
            poses=poses[chunk],
            half=half,
            spacing_mm=cases.spacing_mm,
        )
        for (stage, outcome), (place, start) in product(enumerate(outcomes), enumerate(chunk.tolist())):
            yield {
                "stage": stage,
                "case": cases.names[int(rows[place])],
                "draw": start % draws,
                "start": round(outcome.start[place].item(), 5),
                "final": round(outcome.final[place].item(), 5),
                "energy_start": outcome.energy_start[place].item(),
                "energy_final": outcome.energy_final[place].item(),
                "inside": int(outcome.inside[place]),
                "cpu_seconds": round(outcome.seconds, 5),
            }


def _tuned_rate(job: Job, measure: Measure) -> float:
    """The rate with most successes from known motions of the tuning pairs; of equals the lowest mean residual."""
    table = _table(job, "rates.csv", RATES, measure)
    for row in table.done(measure.name, measure.digest, chosen=1):
        return float(row["rate"])
    cfg = job.cfg
    if cfg.tuning_family not in job.families:
        raise ConfigError(
            f"tuning_family={cfg.tuning_family} is none of the families {', '.join(job.families)}."
        )
    family = job.families[str(cfg.tuning_family)]
    try:
        cases = load_cases(list(cfg.pairs), stage=str(cfg.tuning_stage), limit=None)
    except DataError as error:
        raise DataError(
            f"{error} Learning rates are chosen on tuning_stage={cfg.tuning_stage}; rate=0.04 goes without that."
        ) from error
    scores: list[tuple[float, float, float, int]] = []
    for rate in cfg.rates:
        model = measure.registration(float(rate))
        rows = [
            row
            for number in range(len(family.bins))
            for row in _bin_rows(
                job, model, cases, family, number, draws=int(cfg.tuning_draws), kept=int(cfg.tuning_draws)
            )
            if row["stage"] == 0  # a second stage has a rate of its own
        ]
        final = torch.tensor([float(row["final"]) for row in rows])
        good = float((final <= float(cfg.criterion.final)).sum())
        scores.append((-good, float(final.mean()), float(rate), len(rows)))
    best = min(scores)
    table.add(
        [
            {
                **_label(measure), "rate": rate, "starts": count, "successes": int(-good),
                "mean_final": round(mean, 4), "chosen": int(rate == best[2]),
            }
            for good, mean, rate, count in scores
        ]
    )  # fmt: skip
    job.console.print(f"{measure.title}: learning rate {best[2]:g}", highlight=False)
    return best[2]


def _label(measure: Measure) -> dict[str, str]:
    return {"measure": measure.name, "title": measure.title, "digest": measure.digest}
