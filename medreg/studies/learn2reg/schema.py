"""Metric files of Learn2Reg: the schemas of 2020/21 (0), of 2022 to May 2023 (1) and the current one ("2.0").

Schema 2.0: `name`, `aggregates[metric] = {mean, std, 30}`, `cases["FFFF_ffff<--MMMM_mmmm"][metric] =
{mean, detailed}`, `eval_version`. What medreg adds stands under one further key, `medreg`, which official readers
pass over. Schema 1: `{task: {case: {metric: {"0": value, …}}, aggregates}}`, indexed by the order of the pairs.
Schema 0: the same with `task_01` … `task_04` and other names of metrics.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from typing_extensions import TypedDict

from medreg.data.datasets.learn2reg_config import LABEL_METRICS, EvaluationConfig, MetricSpec
from medreg.errors import DataError
from medreg.io.atomic import write_text
from medreg.io.json_model import checked, read_object

if TYPE_CHECKING:
    import pandas as pd

VERSION = "2.0"
COLUMNS = ("method", "task", "case", "metric", "item", "label", "value")
CASE_MEAN = -1  # value of `item` in the row of a case mean
OLD_NAMES = {"DiceCoefficient": "DSC", "HausdorffDistance95": "HD95", "TRE": "TRE_lm"}
OLD_TASKS = {"task_01": "CuRIOUS", "task_02": "LungCT", "task_03": "AbdomenCTCT", "task_04": "HippocampusMR"}


class Entry(TypedDict):
    """Values of one metric of one case, and the label ids that they are of where ours know them."""

    mean: float
    detailed: NotRequired[float | list[float]]
    labels: NotRequired[list[int]]


@dataclass(frozen=True, config=ConfigDict(populate_by_name=True))
class MetricsFile:
    """Content of a metric file.

    Attributes:
        name: task.
        cases: case → metric → {"mean": number, "detailed": number or list}.
        aggregates: metric → {"mean", "std", "30"} (schema 0: "30" only for two tasks).
        version: "0", "1" or "2.0".
        medreg: our additions; empty in files of others.
    """

    name: str
    cases: dict[str, dict[str, Entry]]
    aggregates: dict[str, dict[str, float]]
    version: str = Field(default=VERSION, validation_alias="eval_version", coerce_numbers_to_str=True)
    medreg: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the content in schema 2.0."""
        content = {
            "name": self.name,
            "aggregates": {metric: dict(values) for metric, values in self.aggregates.items()},
            "cases": {case: dict(metrics) for case, metrics in self.cases.items()},
            "eval_version": VERSION,
        }
        return content | ({"medreg": dict(self.medreg)} if self.medreg else {})

    def write(self, path: str | Path, *, strict: bool = False) -> Path:
        """Write schema 2.0 through a temporary file.

        Args:
            path: destination.
            strict: null instead of the tokens NaN and Infinity, which official files hold and JSON forbids.
        """
        path, content = Path(path), self.to_json()
        text = json.dumps(without_nan(content) if strict else content, indent=4, allow_nan=not strict)
        return write_text(path, text + "\n")

    def labels(self) -> dict[str, tuple[int, ...]]:
        """Label ids of each metric of labels, in the order of its values; known for files of ours only."""
        methods = self.medreg.get("config", {}).get("evaluation_methods", [])
        return {
            entry["name"]: tuple(entry["labels"]) for entry in methods if entry["metric"] in LABEL_METRICS
        }

    def table(self, method: str, *, config: EvaluationConfig | None = None) -> pd.DataFrame:
        """Return the official values as rows of method, task, case, metric, item, label, value.

        Args:
            method: name of the method, the first column.
            config: gives the label ids of files that do not hold them.

        Returns:
            `item` is the place of a value in its list (of labels or of points), or -1 for the mean of the
            case; `label` is the label id where it is known, else missing.
        """
        return tidy(self.rows(method, config=config))

    def rows(self, method: str, *, config: EvaluationConfig | None = None) -> list[tuple[Any, ...]]:
        """Return what `table` holds as tuples in the order of `COLUMNS`; a missing label id is None."""
        ids = self.labels() | ({} if config is None else _config_labels(config.metrics))
        rows: list[tuple[Any, ...]] = []
        for case, metrics in self.cases.items():
            for metric, values in metrics.items():
                rows += rows_of((method, self.name, case, metric), values, ids.get(metric))
        return rows


def read_metrics(
    path: str | Path, *, task: str | None = None, config: EvaluationConfig | None = None
) -> MetricsFile:
    """Read a metric file of any schema.

    Args:
        path: JSON file; null is read as NaN.
        task: which task of a file that holds several (schema 0).
        config: its pairs name the cases of schemas 0 and 1, which are numbered only.

    Raises:
        DataError: not a metric file, several tasks and none chosen, or another number of cases than pairs.
    """
    files = read_all_metrics(path)
    chosen = [file for file in files if task in (None, file.name)]
    if len(chosen) != 1:
        names = ", ".join(file.name for file in files)
        raise DataError(f"{path} holds the tasks {names}; choose one of them (asked for: {task}).")
    return chosen[0] if config is None else _with_pairs(chosen[0], config, path)


def read_all_metrics(path: str | Path) -> tuple[MetricsFile, ...]:
    """Read every task of a metric file of any schema.

    Raises:
        DataError: missing file, or not a metric file.
    """
    content = _null_to_nan(read_object(path))
    if "cases" in content and "aggregates" in content:
        return (checked(MetricsFile, {"name": ""} | content, path),)
    tasks = {key: part for key, part in content.items() if isinstance(part, dict) and "case" in part}
    if not tasks:
        raise DataError(f"{path} is no metric file of Learn2Reg: it has neither cases nor tasks.")
    return tuple(_numbered(task, part) for task, part in tasks.items())


def tidy(rows: Sequence[tuple[Any, ...]]) -> pd.DataFrame:
    """Return rows of `COLUMNS` as a table; a missing label id is `<NA>`."""
    import pandas as pd  # a third of a second, which scoring does not need

    table = pd.DataFrame(list(rows), columns=list(COLUMNS))
    return table.astype({"item": "int64", "label": "Int64", "value": "float64"})


def without_nan(value: Any) -> Any:
    """Return JSON content with None in place of NaN and infinity."""
    if isinstance(value, Mapping):
        return {key: without_nan(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _null_to_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _null_to_nan(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_null_to_nan(part) for part in value]
    return math.nan if value is None else value


def rows_of(
    key: tuple[str, ...], values: Mapping[str, Any], ids: Sequence[int] | None
) -> list[tuple[Any, ...]]:
    """Rows of `COLUMNS` of one metric of one case: its mean, then the values of its list."""
    rows: list[tuple[Any, ...]] = [(*key, CASE_MEAN, None, values["mean"])]
    if isinstance(detailed := values.get("detailed"), list):
        known = ids if ids is not None and len(ids) == len(detailed) else [None] * len(detailed)
        rows += [
            (*key, i, label, value) for i, (label, value) in enumerate(zip(known, detailed, strict=True))
        ]
    return rows


def _config_labels(metrics: Sequence[MetricSpec]) -> dict[str, tuple[int, ...]]:
    return {spec.name: spec.labels for spec in metrics if spec.labels}


def _numbered(task: str, part: Mapping[str, Any]) -> MetricsFile:
    """A task of schema 0 or 1, its cases still named by their number."""
    old = task in OLD_TASKS
    names = OLD_NAMES if old else {}
    cases: dict[str, dict[str, Entry]] = {}
    for metric, values in part["case"].items():
        for number, value in values.items():
            cases.setdefault(str(number), {})[names.get(metric, metric)] = Entry(mean=value, detailed=value)
    aggregates = {
        names.get(metric, metric): dict(values)
        for metric, values in part.get("aggregates", {}).items()
        if isinstance(values, Mapping)
    }
    return MetricsFile(OLD_TASKS.get(task, task), cases, aggregates, "0" if old else "1")


def _with_pairs(file: MetricsFile, config: EvaluationConfig, path: str | Path) -> MetricsFile:
    """Name numbered cases by the pairs of a config."""
    if file.version == VERSION:
        return file
    if len(file.cases) != len(config.pairs):
        raise DataError(f"{path} has {len(file.cases)} cases but the config {len(config.pairs)} pairs.")
    named = {config.pairs[int(number)].case: metrics for number, metrics in file.cases.items()}
    return replace(file, cases=named)
