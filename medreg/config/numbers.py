"""Values that mean nothing and that no type tells: NaN anywhere, and an objective that nobody measures."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from medreg.errors import ConfigError


def check_numbers(plain: Any) -> None:
    """Refuse NaN in plain options.

    Raises:
        ConfigError: naming the option.
    """
    # A value that is used in several places is told by its shortest name, which is the one that is typed.
    for key in sorted(_nan(plain, ""), key=len):
        raise ConfigError(f"{key} is nan, which is no number; give one.")


def check_objective(wanted: Any, metrics: Collection[str]) -> None:
    """Refuse an objective that looks like a misspelt metric; what a user's own package measures may have any name.

    Args:
        wanted: a metric, several, or None.
        metrics: names that medreg itself gives to metrics.

    Raises:
        ConfigError: with the nearest name.
    """
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
