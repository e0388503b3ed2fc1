"""One command at a time in a run folder, and earlier results put aside."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medreg.io.lock import exclusive

log = logging.getLogger("medreg")
LOCK = ".run.lock"  # in the run folder
STAYS = frozenset(
    {".hydra", "train.log", "earlier", LOCK}
)  # Hydra's files of this start, and what is not a result


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the run folder while the block runs; a second command waits, then finds what the first one has made.

    The system frees the lock when its holder dies, however it dies. Where the file system has no locks, nobody waits.

    Args:
        folder: of the run.
    """
    lock = folder / LOCK
    with exclusive(lock, wait_s=0) as held:
        if held:
            yield
            return
    log.info("Another command works in %s; waiting until it ends. Ctrl-C ends this one alone.", folder)
    with exclusive(lock):
        yield


def set_aside(folder: Path) -> None:
    """Move the results of an earlier run into `<folder>/earlier/<time>`."""
    old = [path for path in folder.iterdir() if path.name not in STAYS] if folder.is_dir() else []
    if not old:
        return
    target = folder / "earlier" / time.strftime("%Y-%m-%d_%H-%M-%S")
    number = 1
    while target.exists():  # twice within a second
        number += 1
        target = target.with_name(f"{target.name.split('.')[0]}.{number}")
    target.mkdir(parents=True)
    for path in old:
        shutil.move(str(path), target / path.name)
