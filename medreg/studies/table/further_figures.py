"""Further figures of a table's page, named in its file: classes with `draw(folders, labels) -> Picture | None`."""

from __future__ import annotations

from pathlib import Path

from medreg.config.instantiate import build
from medreg.errors import ConfigError
from medreg.reporting.pictures import Picture
from medreg.studies.table.estimates import TableResults


def further_figures(results: TableResults) -> list[Picture]:
    """Draw the figures of a table.

    `folders` are those of the rows that were run here, of the first seed of each; of kept rows there are none.

    Raises:
        ConfigError: a node that is no figure.
    """
    folders: dict[str, Path] = {}
    for (row, _), facts in results.facts.items():
        if facts.get("folder"):
            folders.setdefault(row, Path(str(facts["folder"])))
    labels = {row: results.table.label(row) for row in results.table.rows}
    drawn = []
    for node in results.table.figures:
        made = build(node)
        if not hasattr(made, "draw"):
            raise ConfigError(
                f"figures: {type(made).__name__} is no figure; it has no draw(folders, labels)."
            )
        drawn.append(made.draw(folders, labels))
    return [picture for picture in drawn if picture is not None]
