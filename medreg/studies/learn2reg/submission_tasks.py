"""Grids and pairs of the public tasks, so that a submission can be checked where the data are not."""

from __future__ import annotations

from importlib import resources
from itertools import combinations
from typing import Any

import yaml

from medreg.data.datasets.learn2reg_config import EvaluationConfig, PairPaths
from medreg.errors import ConfigError

EDITIONS = (2020, 2021, 2022)
FOLDERS = {"val": "imagesTr", "test": "imagesTs"}


def known_tasks() -> tuple[str, ...]:
    """Names of the tasks whose pairs are known without their data."""
    return tuple(_tables())


def public_config(task: str, *, split: str) -> EvaluationConfig:
    """Return grid and pairs of a public task, without metrics.

    Raises:
        ConfigError: the task, or its split, is not among the known ones.
    """
    tables = _tables()
    if task not in tables:
        raise ConfigError(
            f"The pairs of {task} are not known here (known: {', '.join(tables)}); give the folder of the data "
            "(--data) or the official evaluation config (--config)."
        )
    table = tables[task]
    if split not in table:
        raise ConfigError(
            f"The {split} pairs of {task} are not known here; give the official evaluation config (--config)."
        )
    shape = table["shape"]
    pairs = [
        PairPaths(*(f"{FOLDERS[split]}/{task}_{case:04d}_{modality:04d}.nii.gz" for case, modality in ends))
        for fixed, moving in table.get("modalities", [[0, 0]])
        for ends in ([(a, fixed), (b, moving)] for a, b in _cases(table[split]))
    ]
    return EvaluationConfig(task, (shape[0], shape[1], shape[2]), tuple(pairs), ())


def task_folder(task: str, *, edition: int) -> str:
    """Return the folder of a task inside a submission zip of an edition.

    Raises:
        ConfigError: the task was not part of that edition.
    """
    if edition >= 2022:
        return task
    found = _tables().get(task, {}).get(f"folder_{edition}")
    if found is None:
        there = [name for name, table in _tables().items() if f"folder_{edition}" in table]
        raise ConfigError(f"{task} was not part of the edition {edition}, which had {', '.join(there)}.")
    return str(found)


def _cases(rule: dict[str, list[int]]) -> list[tuple[int, int]]:
    (kind, numbers), *_ = rule.items()
    if kind == "next":
        return [(case, case + 1) for case in range(numbers[0], numbers[1] + 1)]
    if kind == "mirrored":
        return [(case, sum(numbers) - case) for case in range(numbers[0], numbers[1] + 1)]
    if kind == "same":
        return [(case, case) for case in range(numbers[0], numbers[1] + 1, numbers[2])]
    return list(combinations(numbers, 2))


def _tables() -> dict[str, Any]:
    text = resources.files("medreg.studies.learn2reg").joinpath("submission_tasks.yaml").read_text("utf-8")
    return dict(yaml.safe_load(text))
