"""The worker processes of a method: started when first needed, lent one case at a time, replaced when they end."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medreg.baselines.method import Method
from medreg.baselines.process import Failure, Worker
from medreg.errors import MissingExtra


class Stopped(Exception):
    """The work was ended from outside; what was under way is no failure."""


@dataclass
class _Seat:
    """A worker process and whether it has warmed up."""

    process: Worker
    warm: bool = False


@dataclass
class Crew:
    """Worker processes.

    Attributes:
        method: what they run.
        log: what they print.
    """

    method: Method
    log: Path
    _closed: bool = False
    _free: queue.SimpleQueue[_Seat] = field(init=False, default_factory=queue.SimpleQueue)
    _all: list[_Seat] = field(init=False, default_factory=list)
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock)

    def ask(self, request: dict[str, Any]) -> dict[str, Any] | Failure:
        """Have a case registered by a worker that is free.

        Raises:
            MissingExtra: the tool cannot be imported where it should run.
            Stopped: the crew was closed meanwhile.
        """
        with self._worker() as seat:
            warm_up = self.method.warm_up and not seat.warm
            reply = seat.process.ask({**request, "warm_up": warm_up}, timeout_s=self.method.timeout_s)
            seat.warm = True
        if self._closed:
            raise Stopped
        return reply

    def close(self) -> None:
        """End all processes."""
        with self._lock:
            self._closed = True
            for seat in self._all:
                seat.process.close()

    @contextmanager
    def _worker(self) -> Iterator[_Seat]:
        """Lend a living worker."""
        try:
            seat: _Seat | None = self._free.get_nowait()
        except queue.Empty:
            seat = None
        if seat is None or not seat.process.alive:
            if seat is not None:
                seat.process.close()
            seat = self._start()
        yield seat
        self._free.put(seat)

    def _start(self) -> _Seat:
        with self._lock:
            if self._closed:
                raise Stopped
            worker = Worker(self.method.command(), log=self.log, variables=self.method.variables())
            seat = _Seat(worker)
            self._all.append(seat)
        try:
            seat.process.hello()
        except MissingExtra as error:
            if self._closed:
                raise Stopped from error
            raise self.method.missing(str(error)) from error
        return seat
