"""Make a submission case by case: predict or convert, write, remember; then pack it. Nothing is ever overwritten."""

from __future__ import annotations

import csv
import json
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from medreg.data.datasets.learn2reg_config import EvaluationConfig, PairPaths
from medreg.errors import DataError, FieldFormatError, MedregError
from medreg.studies.learn2reg.fields import FieldSource
from medreg.studies.learn2reg.schema import write_text
from medreg.studies.learn2reg.submission_format import Form

STATE = ".submission.json"  # in the folder of the fields: what each of them was made of
RUNTIME = "runtime.csv"
COLUMNS = ("case", "seconds", "cpu_seconds", "peak_memory_mib", "version", "hardware", "threads")
Tell = Callable[[str, int, int], None]


class FieldMaker(Protocol):
    """Where fields come from: a trained run, or files."""

    @property
    def cost(self) -> Mapping[str, str | int]:
        """Version, hardware and threads for the table of run times; empty where nothing is computed."""

    def digest(self, pair: PairPaths) -> str:
        """Return what the field of a pair depends on: a file of another digest is made again."""

    def warm_up(self, pair: PairPaths) -> None:
        """Do once, before any time is taken, what only a first case costs."""

    def make(self, pair: PairPaths) -> NDArray[np.floating]:
        """Return the field of a pair, (3, X, Y, Z), voxels of the moving array, index to index."""


@dataclass(frozen=True)
class Made:
    """A field that was written.

    Attributes:
        digest: see `FieldMaker.digest`.
        files: names in the folder.
        seconds: wall time from reading the images to the field in memory; NaN where nothing was computed.
        cpu_seconds: of this process meanwhile.
        peak_memory_mib: growth of the process's memory, or device memory.
    """

    digest: str
    files: tuple[str, ...]
    seconds: float = float("nan")
    cpu_seconds: float = float("nan")
    peak_memory_mib: float = float("nan")


@dataclass(frozen=True)
class Result:
    """What became of all cases: fields made now, fields found, and why others are missing."""

    made: int
    found: int
    failures: Mapping[str, str]


class FilesAsFields:
    """Fields of another program or of a benchmark, converted to the form of a submission.

    Args:
        source: folder or zip of fields in any form of the challenge.
        shape: grid of the task.
    """

    def __init__(self, source: FieldSource, shape: tuple[int, int, int]) -> None:
        self.source = source
        self.shape = shape

    @property
    def cost(self) -> Mapping[str, str | int]:
        """Nothing is computed."""
        return {}

    def digest(self, pair: PairPaths) -> str:
        """Return the digest of the file."""
        entry = self.source.find(pair)
        return "missing" if entry is None else self.source.digest(entry)

    def warm_up(self, pair: PairPaths) -> None:
        """Nothing to do."""

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
    state = _read_state(folder)
    _nothing_foreign(folder, config, form, state)
    failures: dict[str, str] = {}
    made = found = 0
    warm = False
    for number, pair in enumerate(config.pairs, start=1):
        files = form.files(pair)
        try:
            digest = maker.digest(pair)
            known = state.get(pair.case)
            if known and known.digest == digest and all((folder / name).is_file() for name in files):
                found += 1
            else:
                if not warm:
                    maker.warm_up(pair)
                    warm = True
                state[pair.case] = _make(maker, pair, config, form, folder, digest=digest)
                _write_state(folder, state)
                made += 1
        except MedregError as error:
            failures[pair.case] = str(error)
        tell(pair.case, number, len(config.pairs))
    if maker.cost:
        _write_runtimes(folder / RUNTIME, state, maker, [pair.case for pair in config.pairs])
    return Result(made, found, failures)


def pack(folder: Path, target: Path, config: EvaluationConfig, form: Form) -> Path:
    """Write the zip: one folder with the fields of all pairs, and nothing else.

    Raises:
        DataError: the zip exists already, or cannot be written.
    """
    if target.exists():
        raise DataError(
            f"{target} exists already and is never overwritten; choose another name or remove it."
        )
    part = target.with_name(f".part_{target.name}")
    try:
        with zipfile.ZipFile(part, "w", compression=zipfile.ZIP_STORED) as archive:  # fields are compressed
            for pair in config.pairs:
                for name in form.files(pair):
                    archive.write(folder / name, f"{form.folder}/{name}")
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise DataError(f"{target} cannot be written: {error.strerror}.") from error
    return target


def _make(
    maker: FieldMaker, pair: PairPaths, config: EvaluationConfig, form: Form, folder: Path, *, digest: str
) -> Made:
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
    files = form.files(pair)
    for name in files:
        form.write(folder / name, field)
    if not maker.cost:
        return Made(digest, files)
    return Made(digest, files, meter.usage.time_s, cpu, meter.usage.peak_memory_mib)


def _nothing_foreign(folder: Path, config: EvaluationConfig, form: Form, state: Mapping[str, Made]) -> None:
    ours = {name for made in state.values() for name in made.files}
    names = [name for pair in config.pairs for name in form.files(pair)]
    foreign = [name for name in names if name not in ours and (folder / name).exists()]
    if foreign:
        raise DataError(
            f"{folder} holds {foreign[0]} from elsewhere ({len(foreign)} such files), and nothing is overwritten; "
            "choose another folder."
        )


def _read_state(folder: Path) -> dict[str, Made]:
    file = folder / STATE
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return {case: Made(**{**made, "files": tuple(made["files"])}) for case, made in content.items()}
    except (json.JSONDecodeError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{file} is damaged ({error}); remove it and the fields beside it.") from error


def _write_state(folder: Path, state: Mapping[str, Made]) -> None:
    write_text(folder / STATE, json.dumps({case: asdict(made) for case, made in state.items()}, indent=1))


def _write_runtimes(path: Path, state: Mapping[str, Made], maker: FieldMaker, cases: Sequence[str]) -> None:
    """Write one row a case; the order of the columns is that of benchmarks."""
    rows = [{"case": case, **asdict(state[case]), **maker.cost} for case in cases if case in state]
    part = path.with_name(f".part_{path.name}")
    with part.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    part.replace(path)
