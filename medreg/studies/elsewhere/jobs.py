"""From one command to a test for each data set, with the options of the run that is tested."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import OmegaConf

from medreg.config.compose import compose
from medreg.config.identity import run_name
from medreg.config.suggest import Override, parse
from medreg.errors import ConfigError
from medreg.runs.evaluation import with_options_of_the_run
from medreg.studies.table.work import as_override

OURS = ("mode", "ckpt")  # options that the command sets itself
FOR_ONE = re.compile(r"(\w+):([~+]*[\w/.@]+(?:=.*)?)", re.DOTALL)  # an option of one data set


@dataclass(frozen=True)
class DataJob:
    """The test of the run on one data set.

    Attributes:
        label: data set, and values of other options that vary.
        data: the data set.
        overrides: all options of the test.
        folder: its run folder.
        objective: metric that the task is about.
    """

    label: str
    data: str
    overrides: tuple[str, ...]
    folder: Path
    objective: str


def data_jobs(run: Path, words: Sequence[str]) -> list[DataJob]:
    """Return the tests of a run on several data sets, in their order.

    Args:
        run: run folder or checkpoint.
        words: options as of a sweep, `data=A,B` among them; `A:key=value` holds for the data set A alone.

    Raises:
        ConfigError: no data set is named, or an option is misspelt or set by the command.
        CheckpointError: there is no such run.
    """
    own = [match for word in words if (match := FOR_ONE.fullmatch(word))]
    common = [word for word in words if not FOR_ONE.fullmatch(word)]
    items = parse(common)
    _check(items)
    jobs = []
    known = set()
    for data, label, chosen in _combinations(items):
        known.add(data)
        alone = [match[2] for match in own if match[1] == data]
        jobs.append(_job(run, data, label, [*chosen, *alone]))
    strange = sorted({match[1] for match in own} - known)
    if strange:
        raise ConfigError(
            f"{strange[0]}:… holds for one data set, which data= does not name ({', '.join(sorted(known))})."
        )
    return jobs


def _check(items: Sequence[Override]) -> None:
    keys = [item.key_or_group for item in items]
    if keys.count("data") != 1:
        raise ConfigError(
            "On which data? Name the data sets, such as data=acdc_segmentation,mnms_segmentation."
        )
    for key in OURS:
        if key in keys:
            raise ConfigError(f"{key}=…: `medreg evaluate RUN` sets it itself; leave it out.")
    for item in items:
        if item.is_sweep_override() and not item.is_discrete_sweep():
            raise ConfigError(f"{item.input_line}: name the values, separated by commas.")


def _combinations(items: Sequence[Override]) -> Iterator[tuple[str, str, list[str]]]:
    """Yield data set, label and options of every combination of the values that vary."""
    choices: list[list[tuple[str, str]]] = []
    for item in sorted(items, key=lambda item: item.key_or_group != "data"):
        if item.is_sweep_override():
            key = item.get_key_element()
            values = [str(value) for value in item.sweep_string_iterator()]
        else:
            key, values = "", [str(item.input_line)]
        short = item.key_or_group.rsplit(".", 1)[-1]
        told = [f"{short}={value}" if key and item.key_or_group != "data" else "" for value in values]
        choices.append(
            [(f"{key}={value}" if key else value, text) for value, text in zip(values, told, strict=True)]
        )
    for chosen in itertools.product(*choices):
        data = chosen[0][0].partition("=")[2]
        label = ", ".join([data, *(text for _, text in chosen if text)])
        yield data, label, [word for word, _ in chosen]


def _job(run: Path, data: str, label: str, words: Sequence[str]) -> DataJob:
    quiet = [] if any(word.startswith("logger=") for word in words) else ["logger=none"]
    overrides = with_options_of_the_run(["mode=test", as_override("ckpt", str(run)), *quiet, *words])
    cfg = compose(overrides, with_hydra=True)
    objective = OmegaConf.to_container(cfg.objective) if OmegaConf.is_list(cfg.objective) else [cfg.objective]
    assert isinstance(objective, list)
    folder = Path(str(OmegaConf.select(cfg, "paths.outputs"))) / run_name(cfg)
    return DataJob(label, data, tuple(overrides), folder, str(objective[0]))
