"""Which sections a report has: the functions that the task of a run has named in run.json, called one by one.

Each takes the files of the run (`RunFolder`) and yields its `Section`s, none where there is nothing to show. A task
of a user's own package may name functions of that package, which MEDREG_ALLOW must name too.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Iterable, Iterator

from medreg.config.trusted import ALLOW_VARIABLE, trusted_prefixes
from medreg.errors import DataError
from medreg.reporting.page import Section, paragraph
from medreg.reporting.results import RunFolder

log = logging.getLogger("medreg")
Draw = Callable[[RunFolder], Iterable[Section]]
OURS = "medreg.reporting."
# Of runs that were made before tasks named their sections.
EARLIER = (
    "medreg.reporting.sections.results",
    "medreg.reporting.distance_plots.distances",
    "medreg.reporting.sections.training",
    "medreg.reporting.pair_pictures.cases",
)


def draw_sections(run: RunFolder) -> Iterator[Section]:
    """Draw the sections of a run; one that fails leaves a sentence in its place, and the others stand."""
    names = run.record.get("sections")
    for name in names if isinstance(names, list) else EARLIER:
        try:
            yield from list(find(str(name))(run))
        except Exception as error:  # whatever goes wrong in one section must not cost the page
            log.warning("The section %s of the report could not be drawn: %s", name, error, exc_info=True)
            told = f"{str(name).rpartition('.')[2].replace('_', ' ')} could not be drawn: {error}"
            yield Section("Not drawn", (paragraph(told, kind="empty"),), notes=(f"{told.rstrip('.')}.",))


def find(name: str) -> Draw:
    """Return the function of a dotted name.

    Raises:
        DataError: it is in no trusted package, or not there.
    """
    if not name.startswith((OURS, *trusted_prefixes())):
        raise DataError(
            f"{name} is a function of another package; if you trust it, set {ALLOW_VARIABLE}={name.split('.')[0]} "
            "in the environment."
        )
    module, _, function = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise DataError(f"{name} is not there ({error}); is its package on the path?") from error
    if not callable(found):
        raise DataError(f"{name} is no function.")
    return found
