"""Check override strings before Hydra does, so that a misspelling is answered with the nearest valid names."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException, HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf

from medreg.config.paths import config_dir, config_dirs
from medreg.config.renamed import name_of_today
from medreg.config.unchecked import compose_unchecked
from medreg.errors import ConfigError

# Groups that Hydra and its plugins define; their options are not files of ours.
FOREIGN_PREFIXES = ("hydra",)


def groups(root: Path | None = None) -> dict[str, list[str]]:
    """Return every configuration group with its sorted options."""
    found: dict[str, set[str]] = {}
    for folder in [root] if root else config_dirs():
        for file in folder.rglob("*.yaml"):
            group = file.parent.relative_to(folder).as_posix()
            # Parts, and settings of `medreg register` and `medreg benchmark`, are not chosen for a run.
            if group not in (".", "preset", "benchmark", "method", "measure") and not group.endswith("/base"):
                found.setdefault(group, set()).add(file.stem)
    return {group: sorted(found[group]) for group in sorted(found)}


def nearest(word: str, candidates: Iterable[str], *, limit: int = 3) -> list[str]:
    """Return the candidates most like a word, best first; matches of the last dotted part count too."""
    pool = sorted(set(candidates))
    close = difflib.get_close_matches(word, pool, n=limit, cutoff=0.6)
    tail = word.rsplit(".", 1)[-1]
    tails = [
        name for name in pool if difflib.SequenceMatcher(None, tail, name.rsplit(".", 1)[-1]).ratio() > 0.75
    ]
    tails.sort(key=lambda name: -difflib.SequenceMatcher(None, word, name).ratio())
    merged = list(dict.fromkeys([*close, *tails]))
    return merged[:limit]


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """Return a sentence, with a blank before it, that names the candidates most like a word; nothing without any."""
    near = nearest(word, candidates)
    return f" Did you mean {' or '.join(repr(name) for name in near)}?" if near else ""


def leaf_keys(node: DictConfig | ListConfig, prefix: str = "") -> list[str]:
    """Return all dotted keys of a composed configuration, inner nodes included."""
    keys: list[str] = []
    if isinstance(node, ListConfig):
        return keys
    for key in node:
        name = f"{prefix}{key!s}"
        keys.append(name)
        child = node._get_node(key)
        if isinstance(child, DictConfig) and not child._is_interpolation() and not child._is_none():
            keys.extend(leaf_keys(child, f"{name}."))
    return keys


def parse(overrides: Sequence[str]) -> list[Override]:
    """Parse override strings; a syntax error names the string and the usual remedy, quoting."""
    parser = OverridesParser.create()
    parsed = []
    for text in overrides:
        try:
            parsed.append(parser.parse_override(text))
        except HydraException as error:
            raise ConfigError(
                f"Cannot read the option {text!r}: write key=value, and quote what holds commas, brackets or "
                f"blanks, as in 'model.num_blocks=[1,1,1]'. ({str(error).splitlines()[0]})"
            ) from error
    return parsed


def _values(override: Override) -> list[str]:
    if override.is_sweep_override() and override.is_discrete_sweep():
        return [str(value).strip("'\"") for value in override.sweep_string_iterator()]
    value = override.value()
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def _check_group(override: Override, known: dict[str, list[str]]) -> None:
    group = override.key_or_group
    if override.is_delete():
        return
    for value in _values(override):
        options = ", ".join(known[group])
        if value == "None":  # Hydra takes no null where a file is chosen
            raise ConfigError(
                f"{group}=null: choose one of {options}, or leave the option out for the default."
            )
        if value not in known[group] and not value.startswith("glob"):
            raise ConfigError(
                f"{group}={value}: no such option.{did_you_mean(value, known[group])} Options of {group}: {options}."
            )


def _check_keys(overrides: Sequence[Override], known: dict[str, list[str]], base: DictConfig) -> None:
    keys = leaf_keys(base)
    flags = set(keys)
    for override in overrides:
        key = override.key_or_group
        added = override.is_add() or override.is_force_add()
        if added or override.is_delete() or key in flags or _inside_open_node(base, key):
            continue
        today = name_of_today(key)
        hint = f" It is called {today} now." if today in flags else did_you_mean(key, [*keys, *known])
        raise ConfigError(
            f"{key}: no such option in this composition.{hint} "
            "`medreg show` lists every option; a new key is added with +key=value."
        )


def _inside_open_node(base: DictConfig, key: str) -> bool:
    """Say whether a key lies in a node that is interpolated, whose keys are not visible here."""
    node: object = base
    for part in key.split("."):
        if not isinstance(node, DictConfig) or part not in node:
            return False
        node = node._get_node(part)
        if isinstance(node, DictConfig) and node._is_interpolation():
            return True
    return isinstance(node, ListConfig)


def check_overrides(overrides: Sequence[str]) -> None:
    """Raise a helpful error for a group, option or key that does not exist.

    Raises:
        ConfigError: naming the nearest valid names.
    """
    parsed = [item for item in parse(overrides) if not item.key_or_group.startswith(FOREIGN_PREFIXES)]
    known = groups()
    group_overrides = [item for item in parsed if item.key_or_group in known]
    for item in group_overrides:
        _check_group(item, known)
    others = [item for item in parsed if item.key_or_group not in known]
    if others or any(item.key_or_group not in _everywhere() for item in group_overrides):
        for choice in _first_choices(group_overrides):
            _check_keys(others, known, _composed(choice))


@functools.cache
def _everywhere() -> frozenset[str]:
    """Groups that every composition has, whatever its task; a task brings more."""
    entries = OmegaConf.load(config_dir() / "train.yaml").defaults
    return frozenset(str(key) for entry in entries if isinstance(entry, DictConfig) for key in entry)


def _composed(choice: Sequence[str]) -> DictConfig:
    """Compose; a group that the chosen task does not have is refused in a sentence."""
    try:
        return compose_unchecked(choice)
    except ConfigCompositionException as error:
        missing = re.search(r"Could not override '([^'@]+)", str(error))
        if missing is None:
            raise
        kinds = [word for word in choice if word.split("=")[0] in ("model", "task", "experiment")]
        raise ConfigError(
            f"{missing[1]}: this kind of task has no such part{' (' + ', '.join(kinds) + ')' if kinds else ''}. "
            "`medreg show` with the other options lists what it has."
        ) from error


def _first_choices(group_overrides: Sequence[Override]) -> list[list[str]]:
    """Return one composition per value of each swept group, since each may bring its own keys."""
    first: dict[str, list[str]] = {}
    for item in group_overrides:
        prefix = "+" if item.is_add() else "~" if item.is_delete() else ""
        # A group that is taken away may be given without a value.
        first[item.key_or_group] = [
            f"{prefix}{item.key_or_group}" + ("" if value == "None" else f"={value}")
            for value in _values(item)
        ]
    base = [values[0] for values in first.values()]
    choices = [base]
    for group, values in first.items():
        for value in values[1:]:
            choices.append([value if text.lstrip("+~").startswith(f"{group}=") else text for text in base])
    return choices
