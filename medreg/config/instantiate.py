"""The single gate between configuration and code: only classes of named packages can be built.

A configuration may come from a stranger's checkpoint. Every `_target_` is therefore resolved first and must be a
*class* that is *defined* in an allowed package; a function, or a class reached through a module that merely
imported it (`medreg.x.subprocess.Popen`), is refused before anything runs.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from typing import Any

import hydra.utils
from hydra._internal.utils import _locate
from hydra.errors import InstantiationException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError

from medreg.config.trusted import ALLOW_VARIABLE, trusted_prefixes
from medreg.errors import ConfigError, MedregError
from medreg.io.faults import told

ALLOWED = (
    "medreg.",
    "torch.optim.",
    "torch.nn.",
    "pytorch_lightning.",
    "monai.networks.",
    "monai.losses.",
    "monai.transforms.",
    "optuna.pruners.",
)


def targets(node: Any) -> Iterator[str]:
    """Yield every `_target_` of a plain container."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield str(node["_target_"])
        for value in node.values():
            yield from targets(value)
    elif isinstance(node, list):
        for value in node:
            yield from targets(value)


def check_target(target: str) -> type:
    """Return the class that a dotted name means, if it is defined in an allowed package.

    Raises:
        ConfigError: naming the target and how to allow a package of one's own.
    """
    prefixes = (*ALLOWED, *trusted_prefixes())
    if not target.startswith(prefixes):
        package = target.split(".")[0]
        # What Python itself brings opens files and starts programs: nobody is told to allow that.
        own = "" if package in sys.stdlib_module_names else (
            f" If {package} is your own package, set {ALLOW_VARIABLE}={package} in the environment."
        )  # fmt: skip
        raise ConfigError(
            f"_target_ {target!r} is outside the packages that a configuration may build from "
            f"({', '.join(p.rstrip('.') for p in prefixes)}).{own}"
        )
    try:
        found = _locate(target)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"_target_ {target!r} cannot be found: {error}") from error
    origin = f"{getattr(found, '__module__', '')}.{getattr(found, '__qualname__', '')}"
    if not inspect.isclass(found) or not origin.startswith(prefixes):
        raise ConfigError(
            f"_target_ {target!r} is not a class of an allowed package (it is {origin or type(found).__name__}); "
            "a configuration can build nothing else."
        )
    return found


def build(node: DictConfig | ListConfig | dict[str, Any] | None, **arguments: Any) -> Any:
    """Instantiate a node after checking every target in it; `None` gives `None`.

    Args:
        node: configuration with `_target_`; interpolations are resolved against its parents.
        **arguments: objects passed to the outermost constructor.

    Raises:
        ConfigError: a forbidden or missing target, or constructor arguments that do not fit.
    """
    if node is None:
        return None
    config = OmegaConf.create(node) if isinstance(node, dict) else node
    if isinstance(config, DictConfig) and config._is_none():
        return None
    try:
        plain = OmegaConf.to_container(config, resolve=True)
    except InterpolationResolutionError as error:  # one of our resolvers may say why, in a sentence
        match = re.match(r"ConfigError raised while resolving interpolation: (.*)", str(error))
        if match is None:
            raise
        raise ConfigError(match[1]) from error  # OmegaConf keeps the words of the cause alone
    for target in set(targets(plain)):
        check_target(target)
    try:
        return hydra.utils.instantiate(config, _convert_="all", **arguments)
    except InstantiationException as error:
        raise _explained(error, plain) from error


def _hint(error: InstantiationException) -> str:
    """Say what to do where a queue's variables speak of another job than this one."""
    if "ntasks" not in str(error.__cause__):
        return ""
    return (
        " SLURM's variables are set (SLURM_NTASKS), as in an interactive job: unset SLURM_NTASKS for one process, or "
        "start the command by srun, with trainer=ddp and as many tasks as devices."
    )


def _of_lightning(cause: BaseException | None) -> bool:
    """Say whether Lightning refused an option, such as an accelerator that is not there."""
    return type(cause).__name__ == "MisconfigurationException"


def _explained(error: InstantiationException, plain: Any) -> MedregError:
    """Turn Hydra's wrapper into the error of ours that caused it, or into a sentence."""
    cause = error.__cause__
    while cause is not None:
        if isinstance(cause, MedregError):
            return cause
        cause = cause.__cause__
    if isinstance(error.__cause__, OSError):
        return ConfigError(told(error.__cause__))
    if isinstance(error.__cause__, TypeError | ValueError | RuntimeError | LookupError | ArithmeticError) or (
        _of_lightning(error.__cause__)
    ):
        name = plain.get("_target_", "?") if isinstance(plain, dict) else "?"
        inside = re.search(r"full_key: (\S+)", str(error))
        where = f" (options of {inside.group(1)})" if inside else ""
        return ConfigError(
            f"The options do not fit {name} or a part of it{where}: {error.__cause__}{_hint(error)}"
        )
    raise error
