"""A worker process: started, asked case by case, ended when it takes too long."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from medreg.errors import MissingExtra

START_SECONDS = 300.0  # importing a tool from a cold disk takes a minute at most
TAIL = 400  # characters of the worker's last words that are kept


@dataclass(frozen=True)
class Failure:
    """Why a worker gave no answer, in one sentence, and whether it was ended for being slow."""

    reason: str
    timed_out: bool = False


class Worker:
    """One process that answers requests in JSON lines.

    Args:
        command: words that start it.
        log: file that takes what it prints.
        variables: environment variables to set.
    """

    def __init__(self, command: Sequence[str], *, log: Path, variables: Mapping[str, str]) -> None:
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        self._lines: queue.Queue[str | None] = queue.Queue()
        # Some tools leave files where they run (elastix its last field).
        self._folder = tempfile.TemporaryDirectory(prefix="medreg_worker_")
        with log.open("ab") as stream:
            self._begin = stream.tell()
            # A session of its own: Ctrl-C reaches the parent alone, which then ends the worker with its children.
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                env={**os.environ, **variables},
                cwd=self._folder.name,
                start_new_session=True,
                text=True,
                encoding="utf-8",
            )
        threading.Thread(target=self._listen, daemon=True).start()

    def hello(self) -> None:
        """Wait for the worker to have imported its tool.

        Raises:
            MissingExtra: it cannot be imported, or the process ended.
        """
        message = self._next(START_SECONDS)
        if isinstance(message, Failure):
            raise MissingExtra(message.reason)
        if "missing" in message:
            raise MissingExtra(str(message["missing"]))

    def ask(self, request: Mapping[str, Any], *, timeout_s: float) -> dict[str, Any] | Failure:
        """Send one request and wait for its answer; a worker that fails or is slow is ended."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except (BrokenPipeError, OSError):
            return self._died()
        return self._next(timeout_s)

    def close(self) -> None:
        """End the process and what it started."""
        if self._process.poll() is None:
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                _close(stream)
        self._folder.cleanup()

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with suppress(ValueError):  # closed while waiting
            for line in self._process.stdout:
                self._lines.put(line)
        self._lines.put(None)

    def _next(self, timeout_s: float) -> dict[str, Any] | Failure:
        deadline = time.monotonic() + timeout_s
        try:
            line = self._lines.get(timeout=max(deadline - time.monotonic(), 0.0))
        except queue.Empty:
            self.close()
            return Failure(f"took longer than {timeout_s:g} s and was ended (timeout_s)", timed_out=True)
        return self._died() if line is None else dict(json.loads(line))

    def _died(self) -> Failure:
        code = self._process.wait()
        ending = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        said = self.log.read_bytes()[self._begin :].decode("utf-8", "replace").strip().splitlines()
        last = next((line.strip() for line in reversed(said) if line.strip()), "")
        # After a signal the last words are of something that went well.
        told = f": {last[:TAIL]}" if last and code > 0 else ""
        return Failure(f"the worker ended with {ending}{told}")


def _close(stream: Any) -> None:
    with suppress(OSError):  # what was not sent has no reader any more
        stream.close()
