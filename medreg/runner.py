"""Run one composed configuration: seed → data → task → trainer → fit → test → report."""

from __future__ import annotations

import errno
import gc
import logging
import math
import os
import shutil
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from medreg.config.application import remember_failure
from medreg.config.context import RunContext, current_context
from medreg.errors import MedregError
from medreg.runs.record import RunRecord

if TYPE_CHECKING:
    from medreg.stages import Objective

log = logging.getLogger("medreg")
AGAIN = "The same command continues from the last checkpoint; nothing already computed is lost."


def run_job(cfg: DictConfig) -> Objective:
    """Run a job in its folder and return its objective; NaN after a failure that a person can mend.

    A finished run of the same configuration is shown, not repeated (`fresh=true` repeats it).
    """
    from pytorch_lightning.utilities import rank_zero_only

    context = current_context()
    main = getattr(rank_zero_only, "rank", 0) in (0, None)
    if cfg.fresh and main:
        _set_aside(context.folder)
    record = RunRecord(context.folder)
    if main and _finished(record, cfg):
        return _show_finished(record, cfg, context)
    with record.watch():
        return _attempt(cfg, context, record, main)


def _attempt(cfg: DictConfig, context: RunContext, record: RunRecord, main: bool) -> Objective:
    """Run, and answer the failures that a person can mend with a sentence."""
    try:
        return _run(cfg, context, record)
    except MedregError as error:
        return _failed(record, str(error), main)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        text = f"The disk that holds {context.folder} is full ({error}). Free some space. {AGAIN}"
        return _failed(record, text, main)
    except RuntimeError as error:
        known = _known_runtime_error(error)
        if known is None:
            raise
        return _failed(record, known, main)
    except KeyboardInterrupt:
        if main:
            record.fail("interrupted", f"Interrupted. {AGAIN}")
        raise


def _run(cfg: DictConfig, context: RunContext, record: RunRecord) -> Objective:
    from medreg import stages

    # Lightning 2.6 uses a name that torch has deprecated since; it is not about the user's run.
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
    started = time.perf_counter()
    parts = stages.prepare(cfg, context, record)
    try:
        with _collected():
            if cfg.mode in ("fit", "both"):
                with _counted(record, "fit", main=parts.trainer.is_global_zero):
                    stages.fit(parts)
            objective: Objective = math.nan
            if cfg.mode in ("test", "both"):
                with _counted(record, "test", main=parts.trainer.is_global_zero):
                    objective = stages.test(parts)
        if parts.trainer.is_global_zero:
            done = {**record.content.get("done", {}), **_stages_of(cfg)}
            seconds = round(time.perf_counter() - started, 1)
            left_out = dict(parts.data.left_out)
            record.finish(done=done, objective=objective, left_out=left_out, seconds=seconds, reported=False)
            stages.report(parts)
    finally:
        parts.mirror.close(failed=sys.exception() is not None)
    return objective


_first_run = {"first": True}


@contextmanager
def _collected() -> Iterator[None]:
    """Spare the garbage collector all that imports and set-up have made: going through it takes 0.3 s each time.

    Before the first run of a process only: what a run leaves is freed by the ordinary collections of the next.
    """
    if not gc.get_freeze_count() and _first_run.pop("first", False):
        gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def _counted(record: RunRecord, stage: str, *, main: bool) -> Iterator[None]:
    """Add the CPU time of a stage, over all threads and finished child processes, to `cpu_seconds` of run.json.

    An interruption counts too, so that a resumed training sums up; what a killed process spent is lost.
    """
    before = sum(os.times()[:4])
    try:
        yield
    finally:
        spent: dict[str, float] = dict(record.content.get("cpu_seconds") or {})
        spent[stage] = round(spent.get(stage, 0.0) + sum(os.times()[:4]) - before, 1)
        if main:  # the record is that of one process; a full disk must not hide what went wrong
            with suppress(OSError):
                record.update(cpu_seconds=spent)


def _stages_of(cfg: DictConfig) -> dict[str, Any]:
    """Return what this command does, to compare with what was done before."""
    found: dict[str, Any] = {}
    if cfg.mode in ("fit", "both"):
        found["fit"] = True
    if cfg.mode in ("test", "both"):
        found["test"] = str(cfg.ckpt)
    return found


def _finished(record: RunRecord, cfg: DictConfig) -> bool:
    done = record.content.get("done", {})
    return record.content.get("status") == "finished" and all(
        done.get(k) == v for k, v in _stages_of(cfg).items()
    )


def _show_finished(record: RunRecord, cfg: DictConfig, context: RunContext) -> Objective:
    """Show what there is; a report that a kill has prevented is made now."""
    from medreg import stages

    log.info(
        "Already finished (%s). fresh=true runs it again and keeps the earlier result.",
        record.content.get("finished"),
    )
    if cfg.report and not record.content.get("reported", (context.folder / "report.html").is_file()):
        stages.draw(record)
    if not context.sweep:
        stages.show(context.folder)
    value = record.content.get("objective")
    return math.nan if value is None else value


def _failed(record: RunRecord, text: str, main: bool) -> float:
    if main:
        with suppress(OSError):  # the record cannot be written where the disk is full; the message still can
            record.fail("failed", text)
    log.error("\n%s\n", text)
    remember_failure()
    return math.nan


def _known_runtime_error(error: RuntimeError) -> str | None:
    text = str(error)
    if "DataLoader worker" in text:
        return (
            f"A data-loading process died ({text.splitlines()[0]}), most often for want of memory. Use fewer "
            f"(data.loader.num_workers=0) or smaller batches (data.loader.batch_size). {AGAIN}"
        )
    if "out of memory" in text:
        return (
            "The device has too little memory for this step. Lower data.loader.batch_size, use "
            f"trainer.precision=16-mixed on a GPU, or, for GraDIRN, model.checkpoint=true or all. {AGAIN}"
        )
    return None


def _set_aside(folder: Path) -> None:
    """Move the results of an earlier run into `<folder>/earlier/<time>`; Hydra's files of this start stay."""
    kept = {".hydra", "train.log", "earlier"}
    old = [path for path in folder.iterdir() if path.name not in kept] if folder.is_dir() else []
    if old:
        target = folder / "earlier" / time.strftime("%Y-%m-%d_%H-%M-%S")
        target.mkdir(parents=True)
        for path in old:
            shutil.move(str(path), target / path.name)
