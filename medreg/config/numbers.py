"""Numbers that mean nothing: NaN anywhere, and switches and counts that no constructor sees."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from medreg.errors import ConfigError

SWITCHES = ("fresh", "report")  # of train.yaml
COUNTS = ("pictures",)


def check_numbers(plain: Any) -> None:
    """Refuse NaN in plain options.

    Raises:
        ConfigError: naming the option.
    """
    for key in _nan(plain, ""):
        raise ConfigError(f"{key} is nan, which is no number; give one.")


def check_top_level(plain: Mapping[str, Any], metrics: Collection[str]) -> None:
    """Check the options of a run that belong to none of its parts.

    Args:
        plain: resolved options.
        metrics: names that medreg itself gives to metrics.

    Raises:
        ConfigError: a switch or count that is none, or an objective that looks like a misspelt metric.
    """
    for name in SWITCHES:
        if not isinstance(plain.get(name, False), bool):
            raise ConfigError(f"{name}={plain[name]}: it must be true or false.")
    for name in COUNTS:
        value = plain.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ConfigError(f"{name}={value}: it must be a whole number, 0 or more.")
    wanted = plain.get("objective")
    for metric in wanted if isinstance(wanted, list) else [wanted]:
        near = difflib.get_close_matches(str(metric), metrics, n=1, cutoff=0.7)
        if metric is not None and metric not in metrics and near:
            raise ConfigError(
                f"objective={metric}: there is no metric of that name. Did you mean {near[0]!r}? medreg's are "
                f"{', '.join(sorted(metrics))}."
            )


def _nan(node: Any, key: str) -> Iterator[str]:
    """Yield the dotted key of every NaN; YAML of another tool may hold it as text."""
    if isinstance(node, Mapping):
        for name, value in node.items():
            yield from _nan(value, f"{key}.{name}" if key else str(name))
    elif isinstance(node, list | tuple):
        for number, value in enumerate(node):
            yield from _nan(value, f"{key}.{number}")
    elif isinstance(node, float) and math.isnan(node):
        yield key
