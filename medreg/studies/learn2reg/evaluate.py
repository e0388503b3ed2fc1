"""Score a folder or zip of displacement fields: in parallel, resumable, one bad file at a time reported."""

from __future__ import annotations

import contextlib
import csv
import io
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medreg import __version__
from medreg.data.datasets.learn2reg_config import EvaluationConfig, PairPaths, read_config
from medreg.errors import ConfigError, DataError, MedregError, require_choice
from medreg.io.atomic import write_text
from medreg.io.digest import digest_of
from medreg.metrics.rows import MetricRow
from medreg.studies.learn2reg.aggregate import THIRTY_RULES, Thirty, aggregates
from medreg.studies.learn2reg.corrected import case_rows, corrected_aggregates, corrected_values
from medreg.studies.learn2reg.fields import FieldSource
from medreg.studies.learn2reg.names import accepted_names
from medreg.studies.learn2reg.official import Case, Values, official_values
from medreg.studies.learn2reg.runtime import read_runtime
from medreg.studies.learn2reg.schema import COLUMNS, MetricsFile, rows_of, tidy
from medreg.studies.learn2reg.truth import TaskFolder
from medreg.study.job import Progress, Tell, run_units
from medreg.study.store import Store
from medreg.study.unit import Outcome, Row, Unit

if TYPE_CHECKING:
    import pandas as pd

FORM = 1  # raised when stored results of cases can no longer be used


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        metrics: content of the metric file, ours included.
        failures: case → why it could not be scored, a sentence.
        messages: case → what was odd about it.
        reused: number of cases whose stored result was taken.
        method: name of the method in tables.
    """

    metrics: MetricsFile
    failures: Mapping[str, str]
    messages: Mapping[str, tuple[str, ...]]
    reused: int
    method: str
    config: EvaluationConfig = field(repr=False)

    def table(self) -> pd.DataFrame:
        """Return all values, official ones and ours, one a row.

        Returns:
            The columns of `schema.COLUMNS` and `source`, "official" or "medreg".
        """
        rows = self.rows()
        return tidy([row[:-1] for row in rows]).assign(source=[row[-1] for row in rows])

    def rows(self) -> list[tuple[Any, ...]]:
        """Return what `table` holds as tuples; a missing label id is None."""
        rows = [(*row, "official") for row in self.metrics.rows(self.method, config=self.config)]
        for case, metrics in self.metrics.medreg["cases"].items():
            for metric, values in metrics.items():
                key = (self.method, self.metrics.name, case, metric)
                rows += [(*row, "medreg") for row in rows_of(key, values, values.get("labels"))]
        return rows

    def metric_rows(self) -> Iterator[tuple[str, MetricRow]]:
        """Yield (case, row) of what every evaluation of medreg gives, in its names and units."""
        for case, ours in self.metrics.medreg["cases"].items():
            yield from ((case, row) for row in case_rows(ours, self.metrics.cases[case], self.config))

    def csv(self) -> str:
        """Return the table as comma-separated text; what is missing or NaN is empty."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*COLUMNS, "source"])
        for row in self.rows():
            writer.writerow(["" if isinstance(v, float) and math.isnan(v) else v for v in row])
        return text.getvalue()


def evaluate(
    source: str | Path | FieldSource,
    data: str | Path | TaskFolder,
    config: str | Path | EvaluationConfig | None = None,
    *,
    workers: int = 1,
    output: str | Path | None = None,
    resume: bool = True,
    split: str = "val",
    thirty: Thirty = "2024",
    method: str | None = None,
    task: str | None = None,
    strict: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Evaluation:
    """Score displacement fields with the official metrics of Learn2Reg and, beside them, corrected ones.

    Args:
        source: folder or zip of `disp_*.nii.gz` or `.npz`.
        data: folder of the task, with label maps, masks and points.
        config: official evaluation config; None makes it from the descriptor of the task.
        workers: cases at the same time; no more fields than that are in memory.
        output: metric file to write (a `.csv` table is written beside it, and every case as it is done into
            `<stem>.cases.jsonl`); None writes nothing.
        resume: take cases of an earlier run from `<stem>.cases.jsonl` where field, truth, config and version are the
            same; a second command on the same file waits for the first.
        split: pairs of the descriptor, "val", "test" or "train".
        thirty: rule of the "30" of the aggregates, that of the official code since August 2024 or before.
        method: name in tables; default: the name of the folder or zip.
        task: name of the task, where `data` holds several.
        strict: write null instead of NaN and Infinity.
        progress: called with one line for every case.

    Returns:
        The official values of every case that could be scored, ours, and what failed.

    Raises:
        DatasetNotFound: truth that a metric needs is missing for every pair.
        ConfigError: a config that makes no sense, or fewer than one worker.
        DataError: the source cannot be read, or no field of the config is in it.
    """
    if workers < 1:
        raise ConfigError(f"workers={workers} must be at least 1.")
    require_choice("thirty", thirty, THIRTY_RULES)
    fields = source if isinstance(source, FieldSource) else FieldSource(source)
    wanted = read_config(config) if isinstance(config, str | Path) else config
    task = wanted.name if task is None and wanted is not None else task
    folder = data if isinstance(data, TaskFolder) else TaskFolder(data, task=task)
    wanted = folder.config(split=split) if wanted is None else wanted
    folder.check(wanted)
    started = time.perf_counter()
    with contextlib.ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()) if output is None else output)
        store = Store(
            place / "cases.jsonl" if output is None else place.with_name(f"{place.stem}.cases.jsonl")
        )
        scorer = _Scorer(fields, folder, wanted)
        units = [scorer.unit(pair) for pair in wanted.pairs]
        reused = set() if not resume else {unit.id for unit in units if _is_done(store.get(unit))}
        tell = _teller(progress, units, reused)
        outcomes = run_units(units, scorer, store, workers=workers, retry=True, again=not resume, tell=tell)
    evaluation = _collect(
        wanted, outcomes, len(reused), fields, thirty, method, time.perf_counter() - started
    )
    if output is not None:
        evaluation.metrics.write(output, strict=strict)
        write_text(Path(output).with_suffix(".csv"), evaluation.csv())
    return evaluation


def _is_done(outcome: Outcome | None) -> bool:
    return outcome is not None and not outcome.failed


def _teller(progress: Callable[[str], None] | None, units: Sequence[Unit], reused: Set[str]) -> Tell:
    """Say a line for every case: first those that are taken from the store, then those that are scored."""

    def tell(state: Progress) -> None:
        if progress is None:
            return
        if state.last is None:
            for number, unit in enumerate((unit for unit in units if unit.id in reused), start=1):
                progress(f"[{number}/{state.total}] {unit} taken from the stored results")
        else:
            what = f"FAILED: {state.last.error}" if state.last.failed else "scored"
            progress(f"[{state.done}/{state.total}] {state.last.key['case']} {what}")

    return tell


class _Scorer:
    """Score one pair: the work of a unit."""

    def __init__(self, fields: FieldSource, folder: TaskFolder, config: EvaluationConfig) -> None:
        self.fields, self.folder, self.config = fields, folder, config
        self.pairs = {pair.case: pair for pair in config.pairs}

    def unit(self, pair: PairPaths) -> Unit:
        """Return the pair as a unit; its digest is of the field, the files of the truth, config and version."""
        content = self.config.to_json() | {"eval_pairs": [pair.fixed, pair.moving]}
        truth = [
            (str(file), stat.st_size, stat.st_mtime_ns)
            for file in self.folder.used_files(pair, self.config)
            for stat in [file.stat()]
        ]
        try:
            entry = self.fields.find(pair)
            field = "" if entry is None else (entry.name, self.fields.digest(entry))
        except (MedregError, OSError):  # told when the pair is scored
            field = ""
        return Unit({"case": pair.case}, digest_of(FORM, __version__, field, content, truth))

    def __call__(self, unit: Unit) -> Iterator[Row]:
        """Yield the rows of a pair: each metric of official code and of ours, the field's name, and messages.

        Raises:
            MedregError: the field or the truth is missing or unusable.
        """
        pair = self.pairs[unit.key["case"]]
        entry = self.fields.find(pair)
        if entry is None:
            names = " or ".join(accepted_names(pair))
            raise DataError(f"No field {names} (.npz or .nii.gz) in {self.fields.path}.")
        try:
            case = Case(pair, self.config, self.folder, self.fields.read(entry, self.config.shape))
            official, ours = official_values(case), corrected_values(case)
        except OSError as error:  # gone or locked since the folder was listed
            raise DataError(f"{error.filename} cannot be read: {error.strerror}.") from error
        except MemoryError as error:
            raise DataError("Not enough memory; evaluate fewer cases at a time (--workers).") from error
        for source, values in (("official", official), ("medreg", ours)):
            yield from ({"source": source, "metric": metric, **entry} for metric, entry in values.items())
        yield {"source": "field", "name": entry.name}
        yield from (
            {"source": "message", "text": text} for text in (*case.displacement.notes, *case.messages)
        )


def _collect(
    config: EvaluationConfig,
    outcomes: Sequence[Outcome],
    reused: int,
    fields: FieldSource,
    thirty: Thirty,
    method: str | None,
    seconds: float,
) -> Evaluation:
    """Put the cases together in the form of a metric file."""
    done = {outcome.key["case"]: outcome for outcome in outcomes if not outcome.failed}
    failures = {found.key["case"]: found.error for found in outcomes if found.failed}
    official = {case: _values(found, "official") for case, found in done.items()}
    ours = {case: _values(found, "medreg") for case, found in done.items()}
    told = {case: tuple(row["text"] for row in _of(found, "message")) for case, found in done.items()}
    messages = {case: lines for case, lines in told.items() if lines}
    name = method or fields.path.name.removesuffix(".zip")
    extra = {
        "version": __version__,
        "method": name,
        "fields": str(fields.path),
        "rule_of_30": thirty,
        "config": config.to_json(),
        "failures": [{"case": case, "reason": reason} for case, reason in failures.items()],
        "messages": {case: list(lines) for case, lines in messages.items()},
        "aggregates": corrected_aggregates(ours),
        "cases": ours,
        "files": {case: row["name"] for case, found in done.items() for row in _of(found, "field")},
        "runtime": read_runtime(fields.path, config.pairs),
        "evaluation_seconds": {case: found.cost["seconds"] for case, found in done.items()},
        "evaluation_total_seconds": seconds,
    }
    metrics = MetricsFile(config.name, official, aggregates(official, config, thirty=thirty), medreg=extra)
    return Evaluation(metrics, failures, messages, reused, name, config)


def _of(outcome: Outcome, source: str) -> list[Row]:
    return [row for row in outcome.rows if row["source"] == source]


def _values(outcome: Outcome, source: str) -> Values:
    """Metrics of a case as metric files hold them."""
    parts = ("mean", "detailed", "labels")
    return {row["metric"]: {k: row[k] for k in parts if k in row} for row in _of(outcome, source)}
