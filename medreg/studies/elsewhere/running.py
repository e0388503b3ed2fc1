"""Test a run on several data sets by whatever launcher was chosen, and write the table."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from medreg.config.suggest import did_you_mean
from medreg.errors import ConfigError
from medreg.io.atomic import write_json, write_text
from medreg.io.digest import digest_of
from medreg.reporting.formats import to_latex, to_markdown
from medreg.reporting.results import read_run
from medreg.reporting.robustness import corrupted_results, draw_by_strength
from medreg.reporting.style import save
from medreg.reporting.tables import Table
from medreg.reporting.vocabulary import METRICS
from medreg.studies.elsewhere.jobs import DataJob, data_jobs
from medreg.studies.elsewhere.sheet import results_of, sheet_of
from medreg.studies.table.run_folder import is_finished

Starter = Callable[[Sequence[str]], int]  # takes the words of a multirun, returns an exit code
INTERRUPTED = 130


@dataclass(frozen=True)
class Elsewhere:
    """What came out.

    Attributes:
        sheets: a table for every metric that was asked for.
        folder: where `table.md`, `table.tex`, `table.csv` and curves of robustness lie.
        finished: whether every data set has its rows.
    """

    sheets: tuple[Table, ...]
    folder: Path
    finished: bool


def evaluate_elsewhere(
    run: Path,
    words: Sequence[str],
    start: Starter,
    *,
    metrics: Sequence[str] = (),
    output: Path | None = None,
) -> Elsewhere:
    """Test a trained run on several data sets and make the table of all.

    Every test is a run of its own, that of `train.py mode=test ckpt=RUN data=NAME`: what is finished is taken over, and
    the same command goes on after a kill. A data set that fails leaves the others their rows.

    Args:
        run: run folder or checkpoint.
        words: options, see `data_jobs`; those of Hydra say how the tests are started.
        start: starts jobs, `medreg.config.application.launch` with the job.
        metrics: to be shown; that of the task by default. table.csv has all.
        output: folder of the tables; below the outputs by default.

    Raises:
        ConfigError: an option that does not exist, or a metric that no data set has.
        CheckpointError: there is no such run.
    """
    _check_spelling(metrics)
    hydra = [word for word in words if word.lstrip("+~").startswith("hydra")]
    jobs = data_jobs(run, [word for word in words if word not in hydra])
    _launch(jobs, start, hydra)
    results = results_of(jobs)
    chosen = list(metrics) or [jobs[0].objective]
    known = set() if results.empty else set(results["metric"])
    strange = [metric for metric in chosen if known and metric not in known]
    if strange:
        raise ConfigError(
            f"--metric {strange[0]}: the results have {', '.join(sorted(known))}; choose among them."
        )
    sheets = tuple(sheet_of(results, jobs, metric, title=run.name) for metric in chosen)
    folder = output or folder_of_tables(run, jobs)
    for ending, form in (("md", to_markdown), ("tex", to_latex)):
        write_text(folder / f"table.{ending}", "\n".join(map(form, sheets)))
    write_text(folder / "table.csv", results.to_csv(index=False))
    _draw_curves(jobs, chosen, folder)
    return Elsewhere(sheets, folder, all(is_finished(job.folder) for job in jobs))


def _check_spelling(metrics: Sequence[str]) -> None:
    """Refuse what looks like a misspelt metric before anything is tested; a metric of one's own may have any name."""
    for metric in metrics:
        hint = did_you_mean(metric, METRICS)
        if metric not in METRICS and hint:
            raise ConfigError(f"--metric {metric}: no such metric.{hint}")


def _draw_curves(jobs: Sequence[DataJob], metrics: Sequence[str], folder: Path) -> None:
    """Draw each metric against the strength of corruption, where several strengths were tested."""
    runs = [read_run(job.folder) for job in jobs if is_finished(job.folder)]
    results = corrupted_results(runs)
    for metric in metrics if len(results) else ():
        figure = draw_by_strength(results, metric=metric)
        if figure is not None:
            save(figure, folder / f"robustness_{metric}.png")


def folder_of_tables(run: Path, jobs: Sequence[DataJob]) -> Path:
    """Return where the tables lie unless another place is named: beside the runs."""
    names = digest_of([job.folder.name for job in jobs])[:8]
    return jobs[0].folder.parent / "evaluations" / f"{run.resolve().name}_{names}"


def _launch(jobs: Sequence[DataJob], start: Starter, hydra: Sequence[str]) -> None:
    """Start the tests through Hydra; what fails is found in the run folders."""
    with tempfile.TemporaryDirectory(prefix="medreg_evaluate_") as place:
        file = write_json(Path(place) / "jobs.json", [list(job.overrides) for job in jobs])
        code = start(["-m", "hydra/sweeper=listed", f"hydra.sweeper.file={file}", *hydra])
    if code == INTERRUPTED:
        raise KeyboardInterrupt
