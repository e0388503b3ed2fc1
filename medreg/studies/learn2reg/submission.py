"""Make a submission case by case: predict or convert, write, remember; then pack it. Nothing is ever overwritten."""

from __future__ import annotations

import time
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medreg.data.datasets.learn2reg_config import EvaluationConfig, PairPaths
from medreg.errors import DataError, FieldFormatError, MedregError
from medreg.io.atomic import replacing
from medreg.studies.learn2reg.fields import FieldSource
from medreg.studies.learn2reg.runtime import write_runtime
from medreg.studies.learn2reg.submission_format import Form
from medreg.study.job import Progress, run_units
from medreg.study.store import Store
from medreg.study.unit import Outcome, Unit

STATE = ".submission.jsonl"  # in the folder of the fields: what each of them was made of
Tell = Callable[[str, int, int], None]


class FieldMaker(ABC):
    """Where fields come from: a trained run, or files."""

    @property
    def cost(self) -> Mapping[str, str | int]:
        """Version, hardware and threads for the table of run times; empty where nothing is computed."""
        return {}

    @abstractmethod
    def digest(self, pair: PairPaths) -> str:
        """Return what the field of a pair depends on: a file of another digest is made again."""

    def warm_up(self, pair: PairPaths) -> None:  # noqa: B027
        """Do once, before any time is taken, what only a first case costs; nothing by default."""

    @abstractmethod
    def make(self, pair: PairPaths) -> NDArray[np.floating]:
        """Return the field of a pair, (3, X, Y, Z), voxels of the moving array, index to index."""


@dataclass(frozen=True)
class Result:
    """What became of all cases: fields made now, fields found, and why others are missing."""

    made: int
    found: int
    failures: Mapping[str, str]


class FilesAsFields(FieldMaker):
    """Fields of another program or of a benchmark, converted to the form of a submission.

    Args:
        source: folder or zip of fields in any form of the challenge.
        shape: grid of the task.
    """

    def __init__(self, source: FieldSource, shape: tuple[int, int, int]) -> None:
        self.source = source
        self.shape = shape

    def digest(self, pair: PairPaths) -> str:
        """Return the digest of the file."""
        entry = self.source.find(pair)
        return "missing" if entry is None else self.source.digest(entry)

    def make(self, pair: PairPaths) -> NDArray[np.floating]:
        """Read the field of a pair.

        Raises:
            DataError: there is none.
        """
        entry = self.source.find(pair)
        if entry is None:
            raise DataError(f"{self.source.path} holds no field for {pair.case}.")
        return np.moveaxis(self.source.read(entry, self.shape).values, -1, 0)


def make_fields(
    maker: FieldMaker, config: EvaluationConfig, form: Form, folder: Path, *, tell: Tell
) -> Result:
    """Write the fields of all pairs into a folder; a case that fails is noted and the others go on.

    Args:
        maker: makes them.
        config: grid and pairs.
        form: how they are stored.
        folder: destination; fields that it holds from an earlier call of the same maker are kept.
        tell: told case, number of cases done and of all.

    Raises:
        DataError: the folder holds a field of that name from elsewhere.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder} cannot be made: {error.strerror}. Choose another output.") from error
    store = Store(folder / STATE)
    pairs = {pair.case: pair for pair in config.pairs}
    units = [_unit(maker, pair, form, folder) for pair in config.pairs]
    _nothing_foreign(units, store)
    found = sum(1 for unit in units if (known := store.get(unit)) is not None and not known.failed)

    def make(unit: Unit) -> Outcome:
        if not warm:
            warm.append(maker)
            maker.warm_up(pairs[unit.key["case"]])
        # Noted before anything is written: after a kill the file is known as ours.
        store.add(Outcome(unit.key, unit.digest, state="failed", error="It was stopped half-way."))
        return _make(maker, pairs[unit.key["case"]], unit, config, form)

    def told(state: Progress) -> None:
        if state.last is not None:
            tell(str(state.last.key["case"]), state.done, state.total)

    warm: list[FieldMaker] = []
    outcomes = run_units(units, make, store, retry=True, tell=told)
    if maker.cost:
        done = (found for found in outcomes if not found.failed)
        write_runtime(folder, ({**found.key, **found.cost, **maker.cost} for found in done))
    failures = {outcome.key["case"]: outcome.error for outcome in outcomes if outcome.failed}
    return Result(len(units) - found - len(failures), found, failures)


def pack(folder: Path, target: Path, config: EvaluationConfig, form: Form) -> Path:
    """Write the zip: one folder with the fields of all pairs, and nothing else.

    Raises:
        DataError: the zip exists already, or cannot be written.
    """
    if target.exists():
        raise DataError(
            f"{target} exists already and is never overwritten; choose another name or remove it."
        )
    try:
        with replacing(target) as part, zipfile.ZipFile(part, "w", compression=zipfile.ZIP_STORED) as archive:
            for name in (name for pair in config.pairs for name in form.files(pair)):
                archive.write(folder / name, f"{form.folder}/{name}")  # fields are compressed already
    except OSError as error:
        raise DataError(f"{target} cannot be written: {error.strerror}.") from error
    return target


def _unit(maker: FieldMaker, pair: PairPaths, form: Form, folder: Path) -> Unit:
    try:
        digest = maker.digest(pair)
    except MedregError:  # told when the case is made
        digest = ""
    return Unit({"case": pair.case}, digest, tuple(folder / name for name in form.files(pair)))


def _make(maker: FieldMaker, pair: PairPaths, unit: Unit, config: EvaluationConfig, form: Form) -> Outcome:
    from medreg.metrics.runtime import RuntimeMeter

    cpu = time.process_time()
    with RuntimeMeter() as meter:
        field = maker.make(pair)
    cpu = time.process_time() - cpu
    if field.shape != (3, *config.shape):
        raise FieldFormatError(
            f"{pair.case}: the field has the grid {field.shape[1:]}, the task wants {config.shape}. Are these the "
            f"images of {config.name}?"
        )
    for file in unit.files:
        form.write(file, field)
    usage = meter.usage
    cost = {"seconds": usage.time_s, "cpu_seconds": cpu, "peak_memory_mib": usage.peak_memory_mib}
    return Outcome(unit.key, unit.digest, [{"file": file.name} for file in unit.files], cost=cost)


def _nothing_foreign(units: Sequence[Unit], store: Store) -> None:
    """Refuse to overwrite files of cases that were never begun here."""
    foreign = [file for unit in units if store.any(unit) is None for file in unit.files if file.exists()]
    if foreign:
        raise DataError(
            f"{foreign[0].parent} holds {foreign[0].name} from elsewhere ({len(foreign)} such files), and nothing is "
            "overwritten; choose another folder."
        )
