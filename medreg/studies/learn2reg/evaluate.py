"""Score a folder or zip of displacement fields: in parallel, resumable, one bad file at a time reported."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medreg import __version__
from medreg.data.datasets.learn2reg_config import EvaluationConfig, PairPaths, read_config
from medreg.errors import ConfigError, DataError, MedregError
from medreg.io.json_model import read_object
from medreg.studies.learn2reg.aggregate import THIRTY_RULES, Thirty, aggregates
from medreg.studies.learn2reg.corrected import corrected_aggregates, corrected_values
from medreg.studies.learn2reg.fields import Entry, FieldSource
from medreg.studies.learn2reg.names import accepted_names
from medreg.studies.learn2reg.official import Case, official_values
from medreg.studies.learn2reg.runtime import read_runtime
from medreg.studies.learn2reg.schema import COLUMNS, MetricsFile, rows_of, tidy, write_text
from medreg.studies.learn2reg.truth import TaskFolder

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)
STORED = 1  # raised when stored results of cases can no longer be used


@dataclass(frozen=True)
class Failure:
    """A case that could not be scored.

    Attributes:
        case: `FFFF_ffff<--MMMM_mmmm`.
        reason: one sentence.
    """

    case: str
    reason: str


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        metrics: content of the metric file, ours included.
        failures: cases without a result.
        messages: case → what was odd about it.
        reused: number of cases whose stored result was taken.
        method: name of the method in tables.
    """

    metrics: MetricsFile
    failures: tuple[Failure, ...]
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
            `<stem>.cases/`); None writes nothing.
        resume: take results of an earlier run from `<stem>.cases/` where field, truth and config are the same.
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
    if thirty not in THIRTY_RULES:
        raise ConfigError(f"thirty={thirty!r} is not one of {', '.join(THIRTY_RULES)}.")
    fields = source if isinstance(source, FieldSource) else FieldSource(source)
    wanted = read_config(config) if isinstance(config, str | Path) else config
    task = wanted.name if task is None and wanted is not None else task
    folder = data if isinstance(data, TaskFolder) else TaskFolder(data, task=task)
    wanted = folder.config(split=split) if wanted is None else wanted
    folder.check(wanted)
    store = _Store(None if output is None else Path(output), resume=resume)
    started = time.perf_counter()
    done, failures = _score_all(_Scorer(fields, folder, wanted, store), workers, progress)
    evaluation = _collect(wanted, done, failures, fields, thirty, method, time.perf_counter() - started)
    if output is not None:
        evaluation.metrics.write(output, strict=strict)
        write_text(Path(output).with_suffix(".csv"), evaluation.csv())
    return evaluation


def _score_all(
    scorer: _Scorer, workers: int, progress: Callable[[str], None] | None
) -> tuple[dict[str, dict[str, Any]], list[Failure]]:
    """Results by case and failures, both in the order of the config; an interruption keeps what is written."""
    done: dict[str, dict[str, Any]] = {}
    failed: dict[str, str] = {}
    pairs = scorer.config.pairs
    pool = ThreadPoolExecutor(workers, thread_name_prefix="medreg-evaluate")
    try:
        running: dict[Future[dict[str, Any] | str], PairPaths] = {
            pool.submit(_result_or_reason, scorer, pair): pair for pair in pairs
        }
        for number, future in enumerate(as_completed(running), start=1):
            case, found = running[future].case, future.result()
            if isinstance(found, str):
                failed[case] = found
                line = f"FAILED: {found}"
            else:
                done[case] = found
                line = "taken from the stored results" if found["reused"] else "scored"
            if progress is not None:
                progress(f"[{number}/{len(pairs)}] {case} {line}")
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    ordered = {pair.case: done[pair.case] for pair in pairs if pair.case in done}
    return ordered, [Failure(pair.case, failed[pair.case]) for pair in pairs if pair.case in failed]


def _result_or_reason(scorer: _Scorer, pair: PairPaths) -> dict[str, Any] | str:
    """Result of a pair, or why there is none; a kept exception would keep the field in memory, too."""
    try:
        return scorer(pair)
    except MedregError as error:
        return str(error)
    except OSError as error:  # gone or locked since the folder was listed
        return f"{error.filename} cannot be read: {error.strerror}."
    except MemoryError:
        return "Not enough memory; evaluate fewer cases at a time (--workers)."


class _Scorer:
    """Score one pair, or find its stored result."""

    def __init__(
        self, fields: FieldSource, folder: TaskFolder, config: EvaluationConfig, store: _Store
    ) -> None:
        self.fields, self.folder, self.config, self.store = fields, folder, config, store

    def __call__(self, pair: PairPaths) -> dict[str, Any]:
        """Return the stored form of the result of a pair.

        Raises:
            MedregError: the field or the truth is missing or unusable.
        """
        started, cpu = time.perf_counter(), time.thread_time()
        entry = self.fields.find(pair)
        if entry is None:
            names = " or ".join(accepted_names(pair))
            raise DataError(f"No field {names} (.npz or .nii.gz) in {self.fields.path}.")
        key = self._key(pair, entry)
        if (stored := self.store.load(pair, key)) is not None:
            return stored | {"reused": True}
        case = Case(pair, self.config, self.folder, self.fields.read(entry, self.config.shape))
        result = {
            "key": key,
            "case": pair.case,
            "field": entry.name,
            "official": official_values(case),
            "medreg": corrected_values(case),
            "messages": [*case.displacement.notes, *case.messages],
            "seconds": time.perf_counter() - started,
            "cpu_seconds": time.thread_time() - cpu,
        }
        self.store.save(pair, result)
        return result | {"reused": False}

    def _key(self, pair: PairPaths, entry: Entry) -> str:
        """Hash of all that the values depend on: content of the field, files of the truth, config."""
        content = self.config.to_json() | {"eval_pairs": [pair.fixed, pair.moving]}
        truth = [
            (str(file), stat.st_size, stat.st_mtime_ns)
            for file in self.folder.used_files(pair, self.config)
            for stat in [file.stat()]
        ]
        parts = [STORED, self.fields.digest(entry), entry.name, content, truth]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class _Store:
    """Results of single cases in `<stem of the output>.cases/`, written as they are made."""

    def __init__(self, output: Path | None, *, resume: bool) -> None:
        self.folder = None if output is None else output.with_name(f"{output.stem}.cases")
        self.resume = resume

    def load(self, pair: PairPaths, key: str) -> dict[str, Any] | None:
        """Result of a pair if it was made from the same files and config."""
        if self.folder is None or not self.resume or not (file := self._file(pair)).is_file():
            return None
        try:
            content = read_object(file)
        except DataError as error:
            logger.warning("%s Scoring that case again.", error)
            return None
        return content if content.get("key") == key else None

    def save(self, pair: PairPaths, result: dict[str, Any]) -> None:
        """Write the result of a pair."""
        if self.folder is not None:
            write_text(self._file(pair), json.dumps(result) + "\n")

    def _file(self, pair: PairPaths) -> Path:
        assert self.folder is not None
        return self.folder / f"{pair.stem}.json"


def _collect(
    config: EvaluationConfig,
    done: dict[str, dict[str, Any]],
    failures: list[Failure],
    fields: FieldSource,
    thirty: Thirty,
    method: str | None,
    seconds: float,
) -> Evaluation:
    """Put the cases together."""
    official = {case: result["official"] for case, result in done.items()}
    ours = {case: result["medreg"] for case, result in done.items()}
    messages = {case: tuple(result["messages"]) for case, result in done.items() if result["messages"]}
    name = method or fields.path.name.removesuffix(".zip")
    extra = {
        "version": __version__,
        "method": name,
        "fields": str(fields.path),
        "rule_of_30": thirty,
        "config": config.to_json(),
        "failures": [{"case": failure.case, "reason": failure.reason} for failure in failures],
        "messages": {case: list(lines) for case, lines in messages.items()},
        "aggregates": corrected_aggregates(ours),
        "cases": ours,
        "files": {case: result["field"] for case, result in done.items()},
        "runtime": read_runtime(fields.path, config.pairs),
        "evaluation_seconds": {case: result["seconds"] for case, result in done.items()},
        "evaluation_total_seconds": seconds,
    }
    metrics = MetricsFile(config.name, official, aggregates(official, config, thirty=thirty), medreg=extra)
    reused = sum(result["reused"] for result in done.values())
    return Evaluation(metrics, tuple(failures), messages, reused, name, config)
