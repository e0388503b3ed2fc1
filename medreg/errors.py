"""Errors that a person can cause and mend; each message names the file or option and the remedy."""

from __future__ import annotations

from collections.abc import Iterable


class MedregError(Exception):
    """Base of all errors that the entry points print as one paragraph, without a traceback."""


class ConfigError(MedregError):
    """A misspelt group, option or key, or a value that makes no sense."""


class CompositionError(MedregError):
    """Parts that are each valid but do not fit together, such as a 3-D model on 2-D data."""


class DatasetNotFound(MedregError):
    """A data set is not where it was looked for."""


class DataError(MedregError):
    """A file of a data set is missing, corrupt or contradicts its header."""


class FieldFormatError(MedregError):
    """A displacement-field file whose shape, intent or unit cannot be what it is said to be."""


class CheckpointError(MedregError):
    """A checkpoint that is missing, truncated or does not fit the configured model."""


class MissingExtra(MedregError):
    """An optional dependency is absent; the message says the install line."""


class NumericalError(MedregError):
    """NaN or infinity in a loss, an image or a field."""


def require_choice(name: str, value: object, choices: Iterable[object]) -> None:
    """Refuse a value that is none of the choices.

    Args:
        name: of the option, as a person writes it.
        value: what was given.
        choices: what may be given.

    Raises:
        ConfigError: names the option and the choices.
    """
    known = list(choices)
    if value not in known:
        *first, last = map(str, known)
        raise ConfigError(f"{name} is {value!r}; choose {', '.join(first)}{' or ' if first else ''}{last}.")


def require_whole(name: str, value: object, least: int) -> None:
    """Refuse what is no whole number, or is too small.

    Raises:
        ConfigError: names the option and what to give.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(f"{name} is {value!r}; give a whole number of at least {least}.")


def require_number(
    name: str, value: object, *, above: float | None = None, least: float | None = None
) -> None:
    """Refuse what is no finite number, or is too small.

    Raises:
        ConfigError: names the option and what to give.
    """
    fits = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
    if fits and (above is None or value > above) and (least is None or value >= least):  # type: ignore[operator]
        return
    bound = "" if least is None else f", {least:g} or more"
    bound = bound if above is None else f" above {above:g}"
    raise ConfigError(f"{name} is {value!r}; give a finite number{bound}.")
