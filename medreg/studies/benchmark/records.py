"""What is known of each case of a method: a small file a case, and `runtime.csv` made of them."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from medreg.errors import DataError

COLUMNS = ("case", "seconds", "cpu_seconds", "peak_memory_mib", "version", "hardware", "threads")


@dataclass(frozen=True)
class CaseRecord:
    """One case of one method.

    Attributes:
        case: as in metric files, `FFFF_ffff<--MMMM_mmmm`.
        digest: of settings, version and input; a field of another digest is made again.
        failure: why there is no field, empty for success.
        seconds: wall time from reading to writing in the worker.
        cpu_seconds: of the worker with its children.
        peak_memory_mib: largest resident memory of the worker.
        version: of the tool.
        hardware: processor and cores.
        threads: asked for.
    """

    case: str
    digest: str
    failure: str = ""
    seconds: float = float("nan")
    cpu_seconds: float = float("nan")
    peak_memory_mib: float = float("nan")
    version: str = ""
    hardware: str = ""
    threads: int = 0


@dataclass(frozen=True)
class MethodFolder:
    """`<out>/<method>/`: fields, records, log, runtime.csv and metrics.json."""

    path: Path

    @property
    def fields(self) -> Path:
        """Folder of displacement fields."""
        return self.path / "fields"

    @property
    def metrics(self) -> Path:
        """Metric file of the evaluation."""
        return self.path / "metrics.json"

    @property
    def log(self) -> Path:
        """What the workers printed."""
        return self.path / "worker.log"

    def field(self, name: str) -> Path:
        """File of a field, by its name without suffix."""
        return self.fields / f"{name}.nii.gz"

    def record(self, name: str) -> CaseRecord | None:
        """Return the record of a case, None where there is none or it was cut short."""
        file = self.path / "cases" / f"{name}.json"
        if not file.is_file():
            return None
        try:
            return CaseRecord(**json.loads(file.read_text(encoding="utf-8")))
        except (json.JSONDecodeError, TypeError):
            return None

    def keep(self, name: str, record: CaseRecord) -> None:
        """Write the record of a case, complete or not at all."""
        _write(self.path / "cases" / f"{name}.json", json.dumps(asdict(record), indent=1))

    def write_runtimes(self, names: Sequence[str]) -> list[CaseRecord]:
        """Write runtime.csv of the cases that succeeded; return the records of all."""
        found = [record for name in names if (record := self.record(name)) is not None]
        lines = [COLUMNS, *(tuple(asdict(r)[key] for key in COLUMNS) for r in found if not r.failure)]
        target = self.path / "runtime.csv"
        part = target.with_suffix(".part")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with part.open("w", newline="", encoding="utf-8") as stream:
                csv.writer(stream, lineterminator="\n").writerows(lines)
            part.replace(target)
        except OSError as error:
            raise DataError(f"{target} cannot be written: {error.strerror}.") from error
        return found


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
