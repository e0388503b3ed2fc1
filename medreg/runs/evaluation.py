"""`mode=test ckpt=RUN`: the options of the run that is evaluated, as options of the command that evaluates it.

The command takes model, losses, task (with λ and masks) and refinement from the run, unless it says otherwise. They
become ordinary options, so that the folder of the evaluation is named, and its record written, by what it really does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from medreg.config.identity import OWN_CHECKPOINTS
from medreg.config.suggest import groups, parse
from medreg.config.unchecked import compose_unchecked
from medreg.errors import ConfigError
from medreg.runs.trained import TrainedRun

# Nodes that say how a field is made and what is asked of it; data, metrics and seeds are the command's.
ADOPTED = (
    "protocol", "similarity", "regularisation", "transformation", "convolution", "augmentation", "semi", "task",
    "model", "refine",
)  # fmt: skip


def with_options_of_the_run(overrides: Sequence[str]) -> list[str]:
    """Return the overrides of a command, with those of the run in front if it evaluates another run.

    Args:
        overrides: of the command line.

    Raises:
        CheckpointError: there is no such run.
        ConfigError: an option of the run does not exist here.
    """
    plain = {item.key_or_group: item for item in parse(overrides)}
    values = {key: plain[key].value() for key in ("mode", "ckpt") if key in plain}
    single = not any(plain[key].is_sweep_override() for key in values)
    if (
        not single
        or values.get("mode") != "test"
        or values.get("ckpt") in OWN_CHECKPOINTS
        or "ckpt" not in values
    ):
        return list(overrides)
    run = TrainedRun.open(Path(str(values["ckpt"])))
    said = [item for item in plain.values() if item.key_or_group.split(".")[0] in ADOPTED]
    own = {item.key_or_group: str(item.value()) for item in said}
    choices = _choices(run, own)
    composed = compose_unchecked([f"{group}={option}" for group, option in choices.items()])
    taken = [f"{group}={option}" for group, option in choices.items() if group not in own]
    for key, value in _differences(composed, run, choices):
        if not any(_overlap(key, word) for word in own if word not in choices):
            taken.append(f"++{key}={_literal(value)}")
    return [*taken, *overrides]


def _choices(run: TrainedRun, own: Mapping[str, str]) -> dict[str, str]:
    """Return the option of every group: that of the command, else that of the run.

    Where the command chooses another option than the run, the node is the command's.
    """
    known = groups()
    chosen: Mapping[str, Any] = run.record.get("choices") or {}
    found: dict[str, str] = {}
    for group in ADOPTED:
        option = own.get(group, chosen.get(group))
        if option in (None, "None"):
            continue
        if group not in own and option not in known.get(group, []):
            raise ConfigError(
                f"{run.path} was made with {group}={option}, which is no option here; choose one with {group}=…."
            )
        found[group] = str(option)
    return found


def _differences(
    composed: DictConfig, run: TrainedRun, choices: Mapping[str, str]
) -> Iterator[tuple[str, Any]]:
    """Yield keys and values in which the run differs from what its choices compose to."""
    typed = {item.key_or_group for item in parse([str(word) for word in run.record.get("overrides") or []])}
    chosen: Mapping[str, Any] = run.record.get("choices") or {}
    for node in ADOPTED:
        if node in run.config and choices.get(node) in (None, chosen.get(node)):
            yield from _walk(composed.get(node) and composed._get_node(node), run.config[node], node, typed)


def _walk(here: Any, there: Any, key: str, typed: set[str]) -> Iterator[tuple[str, Any]]:
    linked = here is not None and OmegaConf.is_config(here) and here._is_interpolation()
    if linked and key not in typed:
        return
    if isinstance(here, DictConfig) and not linked and isinstance(there, dict) and there:
        for name, value in there.items():
            raw = here._get_node(name) if name in here else None
            interpolated = raw is not None and raw._is_interpolation()
            child = f"{key}.{name}"
            if interpolated and child not in typed:
                continue  # what it follows is adopted itself, or is the command's, as data.ndim
            if isinstance(raw, DictConfig):
                yield from _walk(raw, value, child, typed)
            elif raw is None or _plain(raw) != value:
                yield child, value
    elif _plain(here) != there and not (not there and not _plain(here)):
        yield key, there


def _plain(node: Any) -> Any:
    if OmegaConf.is_config(node):
        return OmegaConf.to_container(node, resolve=True)
    return node._value() if node is not None and hasattr(node, "_value") else node


def _overlap(key: str, word: str) -> bool:
    return f"{key}.".startswith(f"{word}.") or f"{word}.".startswith(f"{key}.")


def _literal(value: Any) -> str:
    """Return a value as Hydra's grammar writes it."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_literal(child)}" for key, child in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_literal, value)) + "]"
    return (
        "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
        if isinstance(value, str)
        else json.dumps(value)
    )
