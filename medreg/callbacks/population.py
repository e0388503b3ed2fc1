"""What all hearts of an evaluation show together: the rows of the case `population`."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl

from medreg.callbacks.on_case import OnCase
from medreg.callbacks.pictures import file_name
from medreg.callbacks.results import Results
from medreg.callbacks.tabular import replace_rows
from medreg.io.atomic import replacing
from medreg.metrics.hearts.memorisation import Outlines, memorisation, outline
from medreg.metrics.hearts.population import memorisation_rows
from medreg.metrics.hearts.sources import GENERATED, POPULATION, REAL_TRAINING, TABLE, heart_row
from medreg.metrics.rows import MetricRow
from medreg.tasks.results import CaseResult

FOLDER = Path("store") / "outlines"  # in the run folder: ED of the real and of a generated heart of each case
TRAINING = "training_measures"  # table of the training hearts
REAL, MADE = "label", "generated"  # arrays of a case

log = logging.getLogger("medreg")


class Population(OnCase):
    """Pool the hearts of `measures.csv`, those of an interrupted evaluation among them, with the training hearts.

    The first frames of each case are kept beside the store, because they are compared with those of training at the
    end; put this callback before the tables, so that a case that is in them has its frames. `training_measures.csv`
    gets the measures of the training hearts.
    """

    def __init__(self) -> None:
        self._scored = False

    def on_case(self, trainer: pl.Trainer, result: CaseResult, index: int) -> None:  # noqa: D102
        self._scored = True
        frames = {name: outline(result.arrays[name].cpu().numpy())
                  for name in (REAL, MADE) if name in result.arrays}  # fmt: skip
        with replacing(_file(Path(trainer.default_root_dir), result.case)) as part:
            np.savez_compressed(part, allow_pickle=False, **frames)

    def on_all_cases(self, trainer: pl.Trainer, task: Any, data: Any, *, trained: bool) -> None:
        """Write the rows of all hearts together, unless they are there and no case was scored since."""
        folder = Path(trainer.default_root_dir)
        results = next(each for each in trainer.callbacks if isinstance(each, Results))  # type: ignore[attr-defined]
        file = folder / f"{TABLE}.csv"
        if not file.is_file() or (results.has(POPULATION) and not self._scored):
            return
        log.info("Comparing the hearts of all cases.")
        hearts = pd.read_csv(file, dtype={"case": str, "source": str})
        training = training_hearts(data, task.evaluator)
        if training.rows:
            replace_rows(folder / f"{TRAINING}.csv", list(training.rows[0]), training.rows)
        rows = task.evaluator.pooled_rows(pd.concat([hearts, pd.DataFrame(training.rows)], ignore_index=True))
        if trained and GENERATED in set(hearts["source"]):
            rows += _memorised(folder, sorted(set(hearts["case"])), training, task.evaluator)
        results.replace(folder, CaseResult(POPULATION, {task.name: rows}))


@dataclass(frozen=True)
class TrainingHearts:
    """What is needed of the hearts of training.

    Attributes:
        rows: of their measures.
        outlines: of their first frames.
    """

    rows: Sequence[Mapping[str, Any]]
    outlines: Sequence[Outlines]


def training_hearts(data: Any, evaluator: Any) -> TrainingHearts:
    """Return measures and first frames of the training hearts of a data module; nothing where it has none."""
    made = list(_measured(data, evaluator)) if data.items("train") else []
    return TrainingHearts([row for row, _ in made], [frame for _, frame in made])


def _measured(data: Any, evaluator: Any) -> Iterator[tuple[dict[str, Any], Outlines]]:
    samples, known = data.samples("train"), set()
    for place in range(len(samples)):
        item = samples[place]
        if (
            "shape" not in item or item["case"][0] in known
        ):  # unreadable, or repeated where a share is trained on
            continue
        known.add(item["case"][0])
        shape = item["shape"][0].numpy()
        told = {name: float(values[0]) for name, values in item.get("covariates", {}).items()}
        found = evaluator.measures(shape, item["spacing_mm"][0].tolist())
        yield {"case": item["case"][0], **heart_row(REAL_TRAINING, 0, told, found)}, outline(shape)


def _memorised(
    folder: Path, cases: Sequence[str], training: TrainingHearts, evaluator: Any
) -> list[MetricRow]:
    """Compare a generated heart of each case, of so many cases, with the hearts of training and of test."""
    held_out: list[Outlines] = []
    made: list[Outlines] = []
    own: list[int] = []
    for case in cases:
        if not _file(folder, case).is_file():
            continue
        with np.load(_file(folder, case), allow_pickle=False) as archive:
            frames = {name: archive[name] for name in archive.files}
        if REAL in frames and MADE in frames and len(made) < evaluator.pooling.neighbours:
            own.append(len(held_out))
            made.append(frames[MADE])
        held_out += [frames[REAL]] if REAL in frames else []
    count, seed = len(evaluator.places), evaluator.pooling.seed
    found = memorisation(made, held_out, training.outlines, count, own=own, seed=seed)
    return list(memorisation_rows(found))


def _file(folder: Path, case: str) -> Path:
    return folder / FOLDER / f"{file_name(case)}.npz"
