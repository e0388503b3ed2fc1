"""Run one composed configuration: seed → data → task → trainer → fit → test → report."""

from __future__ import annotations

import gc
import logging
import math
import os
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from medreg.config.application import remember_failure
from medreg.config.context import RunContext, current_context
from medreg.errors import DatasetNotFound, MedregError
from medreg.runs.failures import AGAIN, told_of_run
from medreg.runs.place import alone, set_aside
from medreg.runs.record import RunRecord

if TYPE_CHECKING:
    from medreg.stages import Objective

log = logging.getLogger("medreg")


def run_job(cfg: DictConfig) -> Objective:
    """Run a job in its folder and return its objective; NaN after a failure that a person can mend.

    A finished run of the same configuration is shown, not repeated (`fresh=true` repeats it).
    """
    from pytorch_lightning.utilities import rank_zero_only

    context = current_context()
    main = getattr(rank_zero_only, "rank", 0) in (0, None)
    if not main:  # another process of a run whose first process holds the lock
        return _attempt(cfg, context, RunRecord(context.folder), main)
    with alone(context.folder):
        if cfg.fresh is True:
            set_aside(context.folder)
        record = RunRecord(context.folder)
        if _finished(record, cfg):
            found = _compared(cfg, context, record)
            if found is None:
                return _show_finished(record, cfg, context)
            if found:
                return _refused(found)
        return _attempt(cfg, context, record, main)


def _compared(cfg: DictConfig, context: RunContext, record: RunRecord) -> str | None:
    """Compare a finished run with today's options, data and weights.

    Returns:
        None where nothing differs that determines the result; a sentence where the command is refused; an empty text
        where the training stands and the evaluation must be made anew.
    """
    from medreg import stages

    try:
        data = stages.data_of(cfg, context)
        found = stages.changes_since(cfg, context.folder, data)
        stages.refuse_other(found, context.folder, mode=cfg.mode)
        why = stages.evaluated_otherwise(cfg, context, record, found)
    except (DatasetNotFound, OSError) as error:
        log.warning("The data cannot be compared with those of the finished run: %s", error)
        return None
    except MedregError as error:
        return str(error)
    if why and cfg.mode != "fit":
        log.info("Evaluating anew: %s.", "; ".join(why))
        return ""
    return None


def _refused(text: str) -> float:
    """Tell why a finished run is left as it is."""
    log.error("\n%s\n", text)
    remember_failure()
    return math.nan


def _attempt(cfg: DictConfig, context: RunContext, record: RunRecord, main: bool) -> Objective:
    """Run, and answer the failures that a person can mend with a sentence."""
    with record.watch() if main else nullcontext():
        try:
            return _run(cfg, context, record)
        except KeyboardInterrupt:
            if main:
                record.fail("interrupted", f"Interrupted. {AGAIN}")
            raise
        except Exception as error:
            known = told_of_run(error, context.folder)
            if known is None:
                raise
            return _failed(record, known, main)


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
    if _first_run.pop("first", False):
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
        spent[stage] = round(spent.get(stage, 0.0) + sum(os.times()[:4]) - before, 2)
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
