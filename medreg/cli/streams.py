"""Standard output that no work is lost for: of any encoding, closed early, or on a disk that is full."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

from medreg.io.faults import told


class Outlasting:
    """A text stream whose reader may leave (`| head`) or whose disk may be full: what is written then is lost.

    Args:
        stream: what is written to; characters that its encoding lacks become question marks.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.error: OSError | None = None
        with suppress(AttributeError, ValueError):
            stream.reconfigure(errors="replace")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, or drop what nobody reads."""
        try:
            return int(self._stream.write(text) or 0)
        except OSError as error:
            self._mute(error)
            return len(text)

    def flush(self) -> None:
        """Flush, or drop what nobody reads."""
        try:
            self._stream.flush()
        except OSError as error:
            self._mute(error)

    def _mute(self, error: OSError) -> None:
        """Send the file descriptor nowhere, so that neither this process nor its children meet the error again."""
        if not isinstance(error, BrokenPipeError):
            self.error = error
        with suppress(OSError, ValueError, AttributeError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


@contextmanager
def outlasting() -> Iterator[list[str]]:
    """Let standard output and error outlast their readers inside; yield sentences on what could not be written."""
    before = sys.stdout, sys.stderr
    lost: list[str] = []
    if isinstance(sys.stdout, Outlasting):  # a command inside a command
        yield lost
        return
    streams = [Outlasting(Path(os.devnull).open("w") if stream is None else stream) for stream in before]  # noqa: SIM115
    sys.stdout, sys.stderr = (cast(Any, stream) for stream in streams)
    try:
        yield lost
    finally:
        for stream in streams:
            stream.flush()
        if streams[0].error is not None:
            lost.append(f"The output could not be written whole: {told(streams[0].error)}")
        if (sys.stdout, sys.stderr) == tuple(streams):
            sys.stdout, sys.stderr = before
