"""Run the benchmark from its settings to its report."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from rich.console import Console

from experiments.performance.machine import machine_facts
from experiments.performance.measurements import Measurements
from experiments.performance.report import fill_document, write_report
from experiments.performance.sections import run_sections
from experiments.performance.session import Session, Settings
from medreg.errors import ConfigError


def bench(
    names: list[str], settings: Settings, *, output: Path, document: Path | None, console: Console
) -> None:
    """Measure the named sections and write table, figures and report.

    Raises:
        ConfigError: a device that is not there.
    """
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device cuda: torch sees no CUDA device here; use --device cpu.")
    torch.set_num_threads(settings.threads)
    measured = Measurements(output, facts=machine_facts(settings.device, threads=settings.threads))
    begun = time.monotonic()
    with _silence():
        run_sections(Session(settings, measured, console), names)
    for sheet in write_report(output):
        console.print(sheet.rich())
    if document is not None:
        fill_document(document, output)
    minutes = (time.monotonic() - begun) / 60
    console.print(
        f"{minutes:.1f} minutes; {output / 'report.md'}, {measured.file} and figures", highlight=False
    )


@contextmanager
def _silence() -> Iterator[None]:
    """Without the warnings of other packages, which are theirs to mend."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
