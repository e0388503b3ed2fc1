"""Run a job under Hydra: options checked first, then one run or a sweep, then an exit code.

`launch` is what `train.py` and `medreg train` call. The job itself is passed in, so that this package does not know
the runner.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Job = Callable[[Any], Any]
Complete = Callable[[Sequence[str]], list[str]]
FULL_ERROR = "HYDRA_FULL_ERROR"
INTERRUPTED = 130  # what a shell expects after Ctrl-C
HELP_FLAGS = (
    "--help",
    "-h",
    "--hydra-help",
    "--info",
    "--cfg",
    "-c",
    "--shell-completion",
    "-sc",
    "--version",
)


def overrides_of(arguments: Sequence[str]) -> list[str]:
    """Return the override strings among command-line arguments (flags and their values left out)."""
    takes_value = {"--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp", "--package", "-p"}
    found: list[str] = []
    skip = False
    for word in arguments:
        if skip:
            skip = False
        elif word in takes_value:
            skip = True
        elif not word.startswith("-"):
            found.append(word)
    return found


def launch(job: Job, arguments: Sequence[str], *, complete: Complete, report: Callable[[Path], int]) -> int:
    """Run `job(cfg)` for the composed configuration, or for each of a sweep.

    Args:
        job: takes the configuration; must be importable by name for the launchers that start processes.
        arguments: the command line without the program's name.
        complete: adds to the overrides what follows from them, such as the options of a run that is evaluated.
        report: tells how a sweep ended, from its folder, and returns the exit code.

    Returns:
        Exit code: 0, 1 after a failure, 130 after Ctrl-C.
    """
    import hydra

    from medreg.config.paths import config_dir
    from medreg.config.plugins import check_plugins
    from medreg.config.resolvers import register
    from medreg.config.suggest import check_overrides
    from medreg.config.sweeps import announced

    register()
    _outcome.clear()
    announced()  # a sweep of this process that nobody asked about is not ours
    informing = any(word.split("=")[0] in HELP_FLAGS for word in arguments)
    overrides = overrides_of(arguments)
    try:
        # A user's own --config-dir may bring groups that are not ours: then Hydra's own messages have to do.
        if not informing and not any(word.startswith(("--config", "-c")) for word in arguments):
            check_plugins(overrides)
            completed = complete(overrides)
            check_overrides(completed)
            arguments = [*(word for word in arguments if word not in overrides), *completed]
            overrides = completed
        application = hydra.main(version_base="1.3", config_path=str(config_dir()), config_name="train")(job)
        # Hydra's parser wants flags before overrides; people put them anywhere.
        sys.argv = [sys.argv[0], *(word for word in arguments if word not in overrides), *overrides]
        code = _run(application)
    except KeyboardInterrupt:
        print("\nInterrupted. The same command continues from the last checkpoint.", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        return _told(error)
    sweep = announced()
    if sweep is not None:
        return max(code, report(sweep))
    return code or _failed_single()


def _run(application: Callable[[], Any]) -> int:
    """Run Hydra's application; its errors come through as they are, so that they can be told."""
    before = os.environ.get(FULL_ERROR)
    os.environ[FULL_ERROR] = "1"  # otherwise Hydra prints a traceback of its own and exits
    try:
        application()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    finally:
        if before is None:
            os.environ.pop(FULL_ERROR, None)
        else:
            os.environ[FULL_ERROR] = before
    return 0


def _told(error: Exception) -> int:
    """Print a sentence; of a defect of the program the traceback."""
    from medreg.config.faults import sentence

    text = sentence(error)
    if text is None:
        traceback.print_exception(error, file=sys.stderr)
    else:
        print(f"\n{text}", file=sys.stderr)
    return 1


_outcome: dict[str, bool] = {}


def remember_failure() -> None:
    """Note that the job of this process failed with a message already shown; the exit code will say so."""
    _outcome["failed"] = True


def _failed_single() -> int:
    return int(_outcome.pop("failed", False))
