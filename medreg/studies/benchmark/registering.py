"""One method over all cases: what is there is kept, what fails is noted, the rest goes on."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medreg.baselines.conversion import to_voxels
from medreg.baselines.process import Failure
from medreg.data.datasets.learn2reg_config import PairPaths
from medreg.errors import DataError, MedregError, MissingExtra
from medreg.io.digest import digest_of
from medreg.io.field_learn2reg import write_learn2reg_field
from medreg.runs.record import hardware
from medreg.studies.benchmark.crew import Crew
from medreg.studies.benchmark.methods import identity_of
from medreg.studies.benchmark.plan import Benchmark, Entry
from medreg.study.job import Tell, run_units
from medreg.study.unit import Outcome, Row, Unit


def register_all(
    benchmark: Benchmark,
    entry: Entry,
    *,
    workers: int = 1,
    retry: bool = False,
    again: bool = False,
    tell: Tell | None = None,
) -> list[Outcome]:
    """Register every case that has no field of these settings yet.

    Args:
        benchmark: the data.
        entry: the method and its folder.
        workers: processes at a time.
        retry: run cases again that failed.
        again: run all cases again.
        tell: told after every case.

    Returns:
        One outcome a case, failures included.

    Raises:
        MissingExtra: the tool is not installed; nothing was run.
    """
    request, version = entry.method.request(), entry.method.version()
    units, pairs = [], {}
    for pair in benchmark.config.pairs:
        images = benchmark.cases.digest(benchmark.task, pair, entry.method)
        units.append(entry.folder.unit(pair, digest_of(identity_of(request), version, images)))
        pairs[pair.case] = pair
    crew, store = Crew(entry.method, entry.folder.log), entry.folder.store()
    work = _Work(benchmark, entry, pairs, request, version, crew)
    try:
        return run_units(
            units, work, store, workers=workers, retry=retry, again=again, tell=tell, stops=(MissingExtra,)
        )
    finally:  # after Ctrl-C too: what runs is ended and not noted
        crew.close()
        entry.folder.write_runtimes(found for unit in units if (found := store.any(unit)) is not None)


def registered_before(benchmark: Benchmark, entry: Entry) -> list[Outcome]:
    """Return what is known of every case, whatever settings made it; nothing is run."""
    store = entry.folder.store()
    units = [entry.folder.unit(pair) for pair in benchmark.config.pairs]
    return [found for unit in units if (found := store.any(unit)) is not None]


@dataclass(frozen=True)
class _Work:
    """Registers the case of a unit: writes its images, asks a worker, converts its field and writes it."""

    benchmark: Benchmark
    entry: Entry
    pairs: dict[str, PairPaths]
    settings: dict[str, Any]
    version: str
    crew: Crew

    def __call__(self, unit: Unit) -> list[Row]:
        pair, method = self.pairs[unit.key["case"]], self.entry.method
        field = self.entry.folder.field(pair)
        field.unlink(missing_ok=True)
        with tempfile.TemporaryDirectory(prefix="medreg_benchmark_") as scratch:
            folder = Path(scratch)
            try:
                files = self.benchmark.cases.files(self.benchmark.task, pair, folder, method)
            except MedregError as error:
                raise DataError(f"its images cannot be used: {error}") from error
            masks = {"fixed_mask": files.fixed_mask, "moving_mask": files.moving_mask}
            reply = self.crew.ask(
                {
                    "case": pair.case,
                    "fixed": str(files.fixed),
                    "moving": str(files.moving),
                    "field": str(folder / "field.npy"),
                    "settings": self.settings,
                    **{name: str(mask) for name, mask in masks.items() if mask is not None},
                }
            )
            if isinstance(reply, Failure):
                raise DataError(reply.reason)
            array = np.load(folder / "field.npy")
        found = to_voxels(array, reply["convention"], affine=files.affine, moving_shape=files.moving_shape)
        write_learn2reg_field(field, found)
        costs = {key: float(reply[key]) for key in ("seconds", "cpu_seconds", "peak_memory_mib")}
        return [{**costs, "version": self.version, "hardware": hardware(), "threads": method.threads}]
