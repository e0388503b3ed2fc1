"""Run one method over all cases: what is there is kept, what fails is noted, the rest goes on."""

from __future__ import annotations

import hashlib
import json
import queue
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from medreg.baselines.conversion import to_voxels
from medreg.baselines.process import Failure, Worker
from medreg.data.datasets.learn2reg_config import PairPaths
from medreg.errors import MedregError, MissingExtra
from medreg.io.field_learn2reg import write_learn2reg_field
from medreg.io.lock import exclusive
from medreg.runs.record import hardware
from medreg.studies.benchmark.cases import Inputs, TaskCases
from medreg.studies.benchmark.methods import Method, identity_of
from medreg.studies.benchmark.records import CaseRecord, MethodFolder
from medreg.studies.learn2reg.names import accepted_names

Tell = Callable[[int, int], None]


@dataclass(frozen=True)
class Job:
    """One method on the cases of one task.

    Attributes:
        method: the method.
        folder: where its results go.
        cases: the data.
        task: task folder.
        workers: processes at a time.
        retry: run cases again that failed.
        again: run all cases again.
        frozen: run nothing; take what is there.
    """

    method: Method
    folder: MethodFolder
    cases: TaskCases
    task: Path
    workers: int
    retry: bool
    again: bool
    frozen: bool = False


def stem_of(pair: PairPaths) -> str:
    """Return the name of a field without suffix: short, `disp_F_M`, where the challenge takes it."""
    return accepted_names(pair, rule="2022")[0]


def register_all(job: Job, pairs: Sequence[PairPaths], *, tell: Tell) -> list[CaseRecord]:
    """Register every case that has no field of these settings yet.

    Args:
        job: the method and where it works.
        pairs: the cases.
        tell: told how many of how many cases are done.

    Returns:
        One record a case, failures included.

    Raises:
        MissingExtra: the tool is not installed; nothing was run.
    """
    if job.frozen:
        return job.folder.write_runtimes([stem_of(pair) for pair in pairs])
    crew = _Crew(job, job.method.request(), job.method.version())
    names = [stem_of(pair) for pair in pairs]
    job.folder.path.mkdir(parents=True, exist_ok=True)
    # A second command on the same folder waits, and then finds everything done.
    with exclusive(job.folder.path / ".lock"), ThreadPoolExecutor(max_workers=job.workers) as pool:
        waiting = [pool.submit(_case, job, pair, crew) for pair in pairs]
        try:
            for done, one in enumerate(as_completed(waiting), start=1):
                one.result()
                tell(done, len(waiting))
        finally:  # after Ctrl-C too: what has not begun never will, what runs is ended and not noted
            pool.shutdown(wait=False, cancel_futures=True)
            crew.close()
            job.folder.write_runtimes(names)
    return job.folder.write_runtimes(names)


def _case(job: Job, pair: PairPaths, crew: _Crew) -> None:
    name = stem_of(pair)
    with tempfile.TemporaryDirectory(prefix="medreg_benchmark_") as scratch:
        folder = Path(scratch)
        try:
            if job.method.prepares:
                inputs = job.cases.originals(job.task, pair)
            else:
                inputs = job.cases.inputs(job.task, pair, folder, takes_masks=job.method.masks)
        except MedregError as error:
            job.folder.keep(name, CaseRecord(pair.case, "", f"its images cannot be used: {error}"))
            return
        digest = crew.digest(inputs)
        known = job.folder.record(name)
        if known is not None and known.digest == digest and not job.again:
            if known.failure and not job.retry:
                return
            if not known.failure and job.folder.field(name).is_file():
                return
        job.folder.field(name).unlink(missing_ok=True)
        record = _registered(job, pair, inputs, folder, crew)
        if record is not None:
            job.folder.keep(name, replace(record, digest=digest))


def _registered(job: Job, pair: PairPaths, inputs: Inputs, folder: Path, crew: _Crew) -> CaseRecord | None:
    """Ask a worker, convert its field and write it; None where the work was stopped from outside."""
    request: dict[str, Any] = {
        "case": pair.case,
        "fixed": str(inputs.fixed),
        "moving": str(inputs.moving),
        "field": str(folder / "field.npy"),
        "settings": crew.settings,
    }
    if inputs.fixed_mask is not None:
        request["fixed_mask"] = str(inputs.fixed_mask)
    if inputs.moving_mask is not None:
        request["moving_mask"] = str(inputs.moving_mask)
    with crew.worker() as seat:
        if seat is None:
            return None
        request["warm_up"] = job.method.warm_up and not seat.warm
        reply = seat.process.ask(request, timeout_s=job.method.timeout_s)
        seat.warm = True
    if crew.closed:
        return None
    base = CaseRecord(pair.case, "", hardware=hardware(), threads=job.method.threads, version=crew.version)
    if isinstance(reply, Failure):
        return replace(base, failure=reply.reason)
    try:
        found = to_voxels(
            np.load(folder / "field.npy"),
            reply["convention"],
            affine=inputs.affine,
            moving_shape=inputs.moving_shape,
        )
        write_learn2reg_field(job.folder.field(stem_of(pair)), found)
    except MedregError as error:
        return replace(base, failure=str(error))
    return replace(
        base,
        seconds=float(reply["seconds"]),
        cpu_seconds=float(reply["cpu_seconds"]),
        peak_memory_mib=float(reply["peak_memory_mib"]),
    )


@dataclass
class _Seat:
    """A worker process and whether it has warmed up."""

    process: Worker
    warm: bool = False


@dataclass
class _Crew:
    """The worker processes of a method: started when first needed, replaced when they end."""

    job: Job
    settings: dict[str, Any]
    version: str
    closed: bool = False
    _free: queue.SimpleQueue[_Seat] = field(init=False, default_factory=queue.SimpleQueue)
    _all: list[_Seat] = field(init=False, default_factory=list)
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock)

    def digest(self, inputs: Inputs) -> str:
        """Digest of everything that decides a field: settings, version of the tool, images."""
        content = [identity_of(self.settings), self.version, inputs.digest]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    @contextmanager
    def worker(self) -> Iterator[_Seat | None]:
        """Lend a living worker; None once the crew is closed.

        Raises:
            MissingExtra: the tool cannot be imported where it should run.
        """
        try:
            seat: _Seat | None = self._free.get_nowait()
        except queue.Empty:
            seat = None
        if seat is None or not seat.process.alive:
            if seat is not None:
                seat.process.close()
            seat = self._start()
        yield seat
        if seat is not None:
            self._free.put(seat)

    def close(self) -> None:
        """End all processes."""
        with self._lock:
            self.closed = True
            for seat in self._all:
                seat.process.close()

    def _start(self) -> _Seat | None:
        method = self.job.method
        with self._lock:
            if self.closed:
                return None
            seat = _Seat(Worker(method.command(), log=self.job.folder.log, variables=method.variables()))
            self._all.append(seat)
        try:
            seat.process.hello()
        except MissingExtra as error:
            if self.closed:
                return None
            raise method.missing(str(error)) from error
        return seat
