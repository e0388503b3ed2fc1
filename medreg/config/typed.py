"""Every option against the type that its constructor expects, before anything is built.

The annotations of the classes that a configuration names say what may stand where, so one walk covers all of them,
those of a user's package too. Where an annotation names something else than plain values it decides nothing.
"""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from omegaconf import DictConfig, OmegaConf

from medreg.config.instantiate import check_target
from medreg.config.paths import config_dir
from medreg.errors import ConfigError

PLAIN = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
# Plain values never stand for these.
OBJECTS = (Sequence, list, tuple, Mapping, dict, Callable)
# What a type does not say: lowest and highest value.
LIMITS: Mapping[str, tuple[float, float | None]] = {
    "seed": (0, 2**32 - 1),
    "pictures": (0, None),
    "data.seed": (0, 2**32 - 1),
    "trainer.max_epochs": (-1, None),
    "trainer.max_steps": (-1, None),
    "trainer.check_val_every_n_epoch": (1, None),
    "trainer.accumulate_grad_batches": (1, None),
    "trainer.log_every_n_steps": (0, None),
    "trainer.num_sanity_val_steps": (-1, None),
    "trainer.num_nodes": (1, None),
    "trainer.limit_train_batches": (0, None),
    "trainer.limit_val_batches": (0, None),
    "trainer.limit_test_batches": (0, None),
    "trainer.gradient_clip_val": (0, None),
    "optimiser.lr": (0, 1e9),  # infinity makes NaN of all weights
    "callbacks.last.every_n_epochs": (1, None),
}
NEEDED = ("paths", "data", "task", "model", "trainer", "logger")  # groups without which nothing runs


def check_types(cfg: DictConfig) -> None:
    """Refuse values of another type than is expected, and numbers beyond what makes sense.

    Raises:
        ConfigError: naming the option, its value and what may stand there.
    """
    for group in NEEDED:
        if cfg.get(group) is None and group in _groups():
            other = " (logger=none for no mirror)" if group == "logger" else ""
            raise ConfigError(
                f"{group}=null: a run needs one. `medreg list {group}` shows what there is{other}."
            )
    plain = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(plain, dict)
    for name, kind in _top_level().items():
        if name in plain and not _fits(plain[name], kind):
            raise ConfigError(f"{name}={_shown(plain[name])}: it must be {_words(kind)}.")
    for key, (least, most) in LIMITS.items():
        value = OmegaConf.select(cfg, key)
        if isinstance(value, int | float) and (value < least or (most is not None and value > most)):
            known = f"from {least:g} to {most:.0f}" if most is not None else f"at least {least:g}"
            raise ConfigError(f"{key}={_shown(value)}: it must be {known}.")
    # A value that is used in several places is told by its shortest name, which is the one that is typed.
    for key, told in sorted(_wrong(plain, ""), key=lambda found: len(found[0])):
        raise ConfigError(f"{key}{told}")


def check_kinds(plain: Mapping[Any, Any]) -> None:
    """Refuse values that their constructors do not take, in settings that no run is composed of, such as a preset.

    Args:
        plain: mappings, lists and values, with `_target_` where a class is meant.

    Raises:
        ConfigError: naming the option, its value and what may stand there.
    """
    for key, told in _wrong(plain, ""):
        raise ConfigError(f"{key}{told}")


def check_same_kind(key: str, value: Any, usual: Any) -> None:
    """Refuse a value of another kind than the one that it replaces; whatever may stand for null does.

    Args:
        key: dotted name of the option.
        value: what was given.
        usual: what stood there.

    Raises:
        ConfigError: naming the option, its value and what may stand there.
    """
    if isinstance(usual, Mapping):
        fits, wanted = isinstance(value, Mapping), "options of its own"
    elif type(usual) in PLAIN:
        # A whole number in a file may be any number: what must be whole is said by a constructor.
        kind = float if type(usual) is int else type(usual)
        fits, wanted = value is None or _is_plain(value, kind), PLAIN[kind]
    else:
        return
    if not fits:
        raise ConfigError(f"{key}={_shown(value)}: it must be {wanted}.")


@functools.cache
def _groups() -> frozenset[str]:
    entries = OmegaConf.load(config_dir() / "train.yaml").defaults
    return frozenset(str(key) for entry in entries if isinstance(entry, DictConfig) for key in entry)


@functools.cache
def _top_level() -> Mapping[str, Any]:
    """Whole numbers and switches that train.yaml itself sets, which no constructor describes."""
    content = OmegaConf.to_container(OmegaConf.load(config_dir() / "train.yaml"))
    assert isinstance(content, dict)
    return {str(key): type(value) for key, value in content.items() if type(value) in (int, bool)}


def _wrong(node: Any, key: str) -> Iterator[tuple[str, str]]:
    """Yield option and reason of every value that does not fit."""
    if isinstance(node, dict):
        hints = _hints(str(node["_target_"])) if "_target_" in node else {}
        for name, value in node.items():
            place = f"{key}.{name}" if key else str(name)
            if name in hints and not _fits(value, hints[name]):
                yield place, f"={_shown(value)}: it must be {_words(hints[name])}."
            yield from _wrong(value, place)
    elif isinstance(node, list):
        for number, child in enumerate(node):
            yield from _wrong(child, f"{key}.{number}")


@functools.cache
def _hints(target: str) -> Mapping[str, Any]:
    """Return the annotations of a class's constructor; none where they cannot be evaluated.

    Raises:
        ConfigError: a class that must not be built.
    """
    merged: dict[str, Any] = {}
    for owner in check_target(target).__mro__:
        if "__init__" not in vars(owner):
            continue
        hints, forwards = _hints_of(owner)
        merged = {**hints, **merged}
        if not forwards:  # what it takes by **kwargs is what the class above it takes
            break
    return merged


def _hints_of(owner: type) -> tuple[Mapping[str, Any], bool]:
    """Return the annotations of a class's own constructor, and whether it hands other arguments on."""
    try:
        hints = typing.get_type_hints(owner.__init__)  # type: ignore[misc]
        parameters = inspect.signature(owner).parameters
    except (NameError, AttributeError, TypeError, ValueError):  # names for type checkers only, no signature
        return {}, False
    variable = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    # A default of None says that null may stand there, whatever the annotation forgets.
    found = {
        name: hint | None if parameters[name].default is None and _is_type(hint) else hint
        for name, hint in hints.items()
        if name in parameters and parameters[name].kind not in variable
    }
    return found, any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())


def _is_type(hint: Any) -> bool:
    return isinstance(hint, type | types.UnionType) or typing.get_origin(hint) is not None


def _fits(value: Any, hint: Any) -> bool:
    """Say whether a plain value may stand where a hint is; what a hint does not say is right."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, one) for one in arguments)
    if origin is Literal:
        return value in arguments
    if hint in (None, type(None)):
        return value is None
    if hint in PLAIN:
        return _is_plain(value, hint)
    if value is None and isinstance(hint, type) and hint.__module__.startswith("medreg."):
        return False
    if isinstance(value, dict) or not (hint in OBJECTS or origin in OBJECTS or _is_tensor(hint)):
        return not _is_path_wrongly(value, hint)
    if not isinstance(value, list):
        return False
    return all(_fits(one, arguments[0]) for one in value) if _of_one_kind(origin, arguments) else True


def _of_one_kind(origin: Any, arguments: tuple[Any, ...]) -> bool:
    return (origin is not tuple and len(arguments) == 1) or (origin is tuple and arguments[1:] == (...,))


def _is_plain(value: Any, kind: type) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)


def _is_tensor(hint: Any) -> bool:
    return getattr(hint, "__name__", "") == "Tensor"


def _is_path_wrongly(value: Any, hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Path) and not isinstance(value, str)


def _words(hint: Any) -> str:
    """Say what a hint allows."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        told = dict.fromkeys(_words(one) for one in arguments)
        return " or ".join(word for word in told if not word.startswith("a kind of ")) or " or ".join(told)
    if origin is Literal:
        return " or ".join(str(one) for one in arguments)
    if hint in (None, type(None)):
        return "null"
    if hint in PLAIN:
        return PLAIN[hint]
    if origin in OBJECTS and origin not in (Mapping, dict, Callable):
        return f"a list [{_words(arguments[0])}, …]" if arguments else "a list"
    return "options of its own" if not isinstance(hint, type) else f"a kind of {hint.__name__}"


def _shown(value: Any) -> str:
    """Return a value as one types it."""
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)
