"""The stages of a run, one function each; `runner.run_job` strings them together."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf

from medreg.callbacks.on_case import OnCase
from medreg.callbacks.results import Results
from medreg.config.context import RunContext
from medreg.config.identity import OWN_CHECKPOINTS
from medreg.config.identity import parts as identifying_parts
from medreg.config.instantiate import build
from medreg.config.sweeps import current_name
from medreg.config.validate import check_dimensions, check_keys, check_options
from medreg.errors import CheckpointError
from medreg.io import checkpoint
from medreg.io.atomic import write_text
from medreg.io.digest import digest_of, digest_of_file
from medreg.reporting.tables import main_method
from medreg.reporting.vocabulary import METRICS
from medreg.runs.code import code_of
from medreg.runs.made_of import Changes, changes, contents_of, is_trained, refuse_other, remember
from medreg.runs.record import RunRecord
from medreg.runs.seen import TrainedOn, refuse_seen

log = logging.getLogger("medreg")
Objective = float | list[float]  # of a run: one number, or one for each of several metrics
for _library in ("pytorch_lightning", "lightning_fabric"):  # their hints are not about this run
    logging.getLogger(_library).setLevel(logging.WARNING)


@dataclass(frozen=True)
class Parts:
    """Everything a run is made of."""

    cfg: DictConfig
    context: RunContext
    record: RunRecord
    data: Any
    task: Any
    trainer: pl.Trainer
    mirror: Any


def prepare(cfg: DictConfig, context: RunContext, record: RunRecord) -> Parts:
    """Seed, build data, task and trainer, refuse what cannot work, and write down what is about to run."""
    check_options(cfg, context, tuple(METRICS))
    _check_paths(cfg, context.folder)
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    data = build(cfg.data)
    task = build(cfg.task)
    task.name = context.model
    check_dimensions(task, data, context)
    check_keys(task, data, context)
    resolved = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(resolved, dict)
    mirror = build(cfg.logger)
    callbacks = [build(node) for node in cfg.callbacks.values() if node]
    trainer = build(cfg.trainer, callbacks=callbacks, logger=False, default_root_dir=str(context.folder))
    data.prepare_data() if trainer.is_global_zero else None
    trainer.strategy.barrier("prepare")
    data.setup()
    task.name_structures(data.labels)
    if not data.items("val"):
        trainer.limit_val_batches = 0  # nothing to choose the best by: the last checkpoint is evaluated
    refuse_other(changes_since(cfg, context.folder, data), context.folder, mode=cfg.mode)
    facts = _write_down(trainer, context, record, data, task, resolved)
    _introduce(trainer, mirror, context, resolved, facts, cfg)
    return Parts(cfg, context, record, data, task, trainer, mirror)


def _check_paths(cfg: DictConfig, folder: Path) -> None:
    """Look for the checkpoints that the options name before anything is computed.

    Raises:
        CheckpointError: there is none at such a path.
    """
    wanted = {"ckpt": cfg.ckpt}
    if cfg.mode != "test":
        wanted |= {"resume": None if cfg.resume == "never" else cfg.resume, "init": cfg.init}
    for spec in wanted.values():  # a run folder of a method without weights holds none, and may be evaluated
        if spec not in OWN_CHECKPOINTS and not Path(str(spec)).expanduser().is_dir():
            checkpoint.find(str(spec), folder)


def data_of(cfg: DictConfig, context: RunContext) -> Any:
    """Build the data of a configuration, to compare them with those of a finished run.

    Raises:
        DatasetNotFound: they are not there (any more).
    """
    check_options(cfg, context)
    return build(cfg.data)


def evaluated_otherwise(
    cfg: DictConfig, context: RunContext, record: RunRecord, found: Changes
) -> tuple[str, ...]:
    """Return why a finished evaluation is not what this command would find, as parts of sentences."""
    if found.test:
        return found.test
    if not is_trained(context.folder) and found.options:
        return found.options
    before, spec = record.content.get("weights"), str(cfg.ckpt)
    file = None if before is None else checkpoint.find(spec, context.folder)
    if file is not None and digest_of_file(file) != before:
        return (f"ckpt={spec} holds other weights than those that were evaluated",)
    return ()


def changes_since(cfg: DictConfig, folder: Path, data: Any) -> Changes:
    """Return what differs between what a run folder holds and a command on it; nothing for a folder without a record.

    Args:
        cfg: of the command.
        folder: of the run.
        data: its data module.
    """
    return changes(folder, cfg, contents_of(data))


def _write_down(
    trainer: pl.Trainer,
    context: RunContext,
    record: RunRecord,
    data: Any,
    task: Any,
    resolved: dict[Any, Any],
) -> dict[str, Any]:
    """Write run.json, config.yaml and split.csv; return the facts that checkpoints and W&B carry."""
    facts = {
        "overrides": list(context.overrides),
        "model": context.model,
        "data": context.data,
        "seed": resolved["seed"],
        "parameters": sum(p.numel() for p in task.parameters() if p.requires_grad),
        "data_fingerprint": data.fingerprint(),
        "labels": dict(data.labels),
        "model_selection": data.split.selection,
        "device": str(trainer.strategy.root_device),
        "choices": context.choices,
        "sections": list(task.sections),
    }
    if trainer.is_global_zero:
        told = {key: value for key, value in facts.items() if key != "overrides"}
        record.start(overrides=context.overrides, code=code_of(resolved), **told)
        # Of a trained run, an evaluation must not overwrite what it was trained with.
        if resolved["mode"] != "test" or not is_trained(context.folder):
            write_text(context.folder / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(resolved)))
            data.save_split(context.folder / "split.csv")
            remember(context.folder, contents_of(data))
        elif resolved["mode"] != "fit":
            remember(context.folder, contents_of(data), stages=("test",))
        data.save_inventory(context.folder / "inventory.csv")
    code = {key: record.content.get(key) for key in ("commit", "dirty")}
    seen = TrainedOn.of_data(data).plain()  # in checkpoints alone: it may be long
    task.provenance = {**facts, **code, "config": resolved, "trained_on": seen}
    return facts


def _introduce(
    trainer: pl.Trainer,
    mirror: Any,
    context: RunContext,
    resolved: dict[Any, Any],
    facts: dict[str, Any],
    cfg: DictConfig,
) -> None:
    """Start the mirror on the main process and tell the results table whose rows it writes."""
    if trainer.is_global_zero:
        kind = "sweep" if context.sweep else {"fit": "train", "both": "train", "test": "test"}[cfg.mode]
        named = {
            **facts,
            "name": context.folder.name,
            "group": (current_name() if context.sweep else None) or f"{context.model}_{context.data}",
            "job_type": kind,
        }
        logger = mirror.connect(context.folder, config=resolved, facts=named)
        if logger is not None:
            trainer.loggers = [logger]
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, Results):
            callback.labels = {
                "run": context.folder.name, "model": context.model, "data": context.data, "split": "test",
            }  # fmt: skip


def fit(parts: Parts) -> None:
    """Train, continuing from the last checkpoint of this run if there is one."""
    task, trainer, folder = parts.task, parts.trainer, parts.context.folder
    if not task.trainable:
        log.info("model=%s has nothing to train.", parts.context.model)
        return
    found = None if parts.cfg.resume == "never" else checkpoint.find_resumable(str(parts.cfg.resume), folder)
    resume = None if found is None else found[0]
    if found is not None:
        checkpoint.fitting_weights(task.model, *found)
        _join(parts, found[1], found[0], "resume")
        log.info("Continuing from %s.", resume)
    elif parts.cfg.init is not None:
        source = checkpoint.find(str(parts.cfg.init), folder)
        if source is None:
            raise CheckpointError(
                f"init={parts.cfg.init}: this run has no checkpoint yet; give the path of another run."
            )
        _join(parts, checkpoint.apply_weights(task.model, source), source, "init")
        log.info("Warm start from the weights of %s.", source)
    try:
        trainer.fit(task, datamodule=parts.data, ckpt_path=resume, weights_only=True)
    except SystemExit as stop:  # Lightning's way of ending after Ctrl-C
        raise KeyboardInterrupt from stop
    if trainer.interrupted:
        raise KeyboardInterrupt
    trainer.strategy.barrier("fit")  # one process writes the last checkpoint, all read it


def _join(parts: Parts, content: Mapping[str, Any], file: Path, option: str) -> None:
    """Note what the weights that a training goes on from have seen, which is refused if it is reported as unseen."""
    before = TrainedOn.of_checkpoint(content, file, parts.data, own=parts.context.folder)
    refuse_seen(before, parts.data, file, f"{option}={parts.cfg[option]}")
    seen = TrainedOn.of_data(parts.data).and_before(before)
    parts.task.provenance["trained_on"] = seen.plain()


def test(parts: Parts) -> Objective:
    """Evaluate the chosen checkpoint on the test cases and return the objective, or one number for each of several."""
    task, trainer, folder = parts.task, parts.trainer, parts.context.folder
    used, trained = "none", False
    if task.trainable:
        file = checkpoint.find(str(parts.cfg.ckpt), folder)
        if file is None:
            raise CheckpointError(
                f"Nothing to evaluate: {folder / checkpoint.FOLDER} holds no checkpoint of this configuration. "
                "Train first (mode=both), or give ckpt=PATH of a checkpoint or run folder."
            )
        content = checkpoint.apply_weights(task.model, file)
        before = TrainedOn.of_checkpoint(content, file, parts.data, own=folder)
        refuse_seen(before, parts.data, file, f"ckpt={parts.cfg.ckpt}")
        trained = before.covers(parts.data)
        used = f"{file} epoch {content.get('epoch')} step {content.get('global_step')}"
        log.info("Evaluating %s.", used)
        weights = digest_of_file(file)
        used += f" content {weights}"
        parts.record.content["weights"] = weights  # written at the end
    left = _cases_left(parts, used)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(parts.cfg.seed)
        if left:
            trainer.test(task, datamodule=parts.data, verbose=False)
    if trainer.interrupted:
        raise KeyboardInterrupt
    if not trainer.is_global_zero:
        return math.nan
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, OnCase):
            callback.on_all_cases(trainer, task, parts.data, trained=trained)
    wanted = parts.cfg.objective
    return (
        objective(folder, wanted)
        if isinstance(wanted, str | None)
        else [objective(folder, one) for one in wanted]
    )


def _cases_left(parts: Parts, checkpoint_used: str) -> int:
    """Tell the results table what is evaluated, leave out cases it already holds, and count the others."""
    options = OmegaConf.to_container(parts.cfg, resolve=True)
    assert isinstance(options, dict)
    evaluated = {
        "checkpoint": checkpoint_used,
        **identifying_parts(options),
        "test_split": options.get("test_split"),
        "cases": digest_of((contents_of(parts.data) or {}).get("test")),
    }
    trainer = parts.trainer
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, Results):
            done = callback.begin(parts.context.folder, evaluated, main=trainer.is_global_zero)
            if done and trainer.world_size == 1:  # several processes need a case each: they score all again
                log.info("%d cases are scored already; going on with the others.", len(done))
                parts.data.skip_cases(done)
    return len(parts.data.items("test"))


def objective(folder: Path, metric: str | None) -> float:
    """Return the mean of a metric over cases, for the main method of the table; NaN where it was not measured."""
    import pandas as pd

    table = folder / "results.csv"
    if not table.exists():
        return math.nan
    whole = pd.read_csv(table)
    frame = whole[(whole.metric == metric) & whole.structure.isin(["mean", "all"])]
    if frame.empty:
        return math.nan
    main = main_method(whole)
    method = main if main in set(frame.method) else frame.method.iloc[-1]
    return float(frame[frame.method == method].value.mean())


def report(parts: Parts) -> None:
    """Draw figures, write report.html and the summary tables, print the table, and mirror them."""
    if parts.cfg.report:
        draw(parts.record)
    parts.mirror.report(parts.context.folder)
    show(parts.context.folder)


def draw(record: RunRecord) -> None:
    """Write the report of a run, and into its record that there is one."""
    from medreg.reporting.html import write_report

    write_report(record.file.parent)
    record.update(reported=True)


def show(folder: Path) -> None:
    """Print the summary table and where everything is."""
    from medreg.reporting.terminal import print_summary

    print_summary(folder)
