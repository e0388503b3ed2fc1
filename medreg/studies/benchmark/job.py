"""One benchmark from beginning to end: cases, methods, fields, evaluation, ranking, report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from medreg.baselines.method import Method
from medreg.config.instantiate import build
from medreg.errors import ConfigError, MissingExtra, require_choice
from medreg.io.atomic import write_json, write_text
from medreg.io.outputs import check_folder
from medreg.studies.benchmark.methods import Run
from medreg.studies.benchmark.plan import Benchmark, Entry, MethodFolder
from medreg.studies.benchmark.registering import register_all, registered_before
from medreg.study.progress import progress_line, tell_failures

if TYPE_CHECKING:
    from rich.console import Console

MISSING = ("stop", "skip")
PARTS = ("all", "register", "report")


def methods_of(cfg: DictConfig) -> dict[str, Method]:
    """Build the methods of a composed configuration, the run folders among them.

    Raises:
        ConfigError: no method, or two run folders of one name.
    """
    # A benchmark has settings for methods that this command did not choose; they build nothing.
    found: dict[str, Method] = {
        str(name): build(node) for name, node in cfg.methods.items() if "_target_" in node
    }
    for folder in cfg.runs:
        name = Path(str(folder)).expanduser().resolve().name
        if name in found:
            raise ConfigError(
                f"Two methods are called {name}; give the run folders {folder} different names."
            )
        found[name] = Run(
            title=name,
            source="its own configuration",
            timeout_s=600.0,
            threads=int(cfg.threads),
            device="cpu",
            warm_up=True,
            masks=False,
            ckpt=str(folder),
        )
    if not found:
        raise ConfigError("No method was chosen: method=[identity,optimise] or runs=[FOLDER].")
    return found


def prepare(cfg: DictConfig) -> Benchmark:
    """Find the data and the methods before anything is run.

    Raises:
        MissingExtra: methods that are not installed, unless `missing=skip`.
        DatasetNotFound: no data.
    """
    for key, known in (("missing", MISSING), ("only", PARTS)):
        require_choice(key, cfg[key], known)
    out = check_folder(Path(str(cfg.out)).expanduser(), "out")
    entries, left_out = [], {}
    for name, method in methods_of(cfg).items():
        try:
            method.command()
            method.version()
        except MissingExtra as error:
            if cfg.missing == "stop":
                raise MissingExtra(f"{error}\nOr go on without it: missing=skip.") from error
            left_out[name] = str(error)
            continue
        entries.append(Entry(name, method, MethodFolder(out / name)))
    if not entries:
        raise MissingExtra("None of the methods is installed here:\n" + "\n".join(left_out.values()))
    cases = build(cfg.data)
    task, config = cases.evaluation()
    return Benchmark(str(cfg.name), out, task, cases, config, tuple(entries), left_out)


def run_benchmark(cfg: DictConfig, *, console: Console) -> Path:
    """Run what is missing, evaluate, rank, and write the report; the same command goes on where it stopped.

    Returns:
        Path of report.html, or the folder of the fields with `only=register`.
    """
    benchmark = prepare(cfg)
    _write_plan(benchmark, cfg)
    for name, reason in benchmark.left_out.items():
        console.print(f"[yellow]left out[/] {name}: {reason}", highlight=False)
    entries = []
    for entry in benchmark.entries:
        try:
            entries.append(_registered(entry, benchmark, cfg, console))
        except MissingExtra as error:  # there, but it cannot be imported
            if cfg.missing == "stop":
                raise
            console.print(f"[yellow]left out[/] {entry.name}: {error}", highlight=False)
    if cfg.only == "register":
        return benchmark.out
    from medreg.studies.benchmark.judging import evaluate_all
    from medreg.studies.benchmark.report import write_report

    evaluated = evaluate_all(
        benchmark,
        entries,
        workers=int(cfg.evaluation_workers),
        runtime=bool(cfg.rank_runtime),
        console=console,
    )
    page = write_report(benchmark, evaluated, pictures=int(cfg.pictures), console=console)
    _mirror(benchmark, cfg)
    return page


def _mirror(benchmark: Benchmark, cfg: DictConfig) -> None:
    """Send table, means and pictures to the logger, if one was chosen."""
    logger = build(cfg.logger)
    config = OmegaConf.to_container(cfg, resolve=True)
    facts = {"name": benchmark.out.name, "group": f"benchmark_{benchmark.name}", "job_type": "benchmark"}
    if logger.connect(benchmark.out, config=config, facts=facts) is not None:
        logger.report(benchmark.out)
    logger.close(failed=False)


def _registered(entry: Entry, benchmark: Benchmark, cfg: DictConfig, console: Console) -> Entry:
    if cfg.only == "report":
        outcomes = registered_before(benchmark, entry)
    else:
        with progress_line(console, entry.name) as tell:
            outcomes = register_all(
                benchmark,
                entry,
                workers=int(cfg.workers),
                retry=bool(cfg.retry),
                again=entry.name in list(cfg.again),
                tell=tell,
            )
    found = replace(entry, outcomes=tuple(outcomes))
    seconds = sum(float(str(cost["cpu_seconds"])) for cost in found.costs.values())
    console.print(
        f"{entry.name}: {len(found.costs)} of {len(benchmark.config.pairs)} fields, {seconds:.1f} CPU s",
        highlight=False,
    )
    tell_failures(console, outcomes)
    return found


def _write_plan(benchmark: Benchmark, cfg: DictConfig) -> None:
    write_text(benchmark.out / "benchmark.yaml", OmegaConf.to_yaml(cfg))
    write_json(benchmark.out / "evaluation_config.json", benchmark.config.to_json(), indent=4)


def recipes(names: Sequence[str]) -> dict[str, str]:
    """Return how to install each method, by name."""
    from medreg.config.command import BENCHMARK

    chosen = BENCHMARK.compose([f"method=[{','.join(names)}]"])
    return {name: build(node).recipe() for name, node in chosen.methods.items() if "_target_" in node}
