"""The section of a report that shows chosen cases, whatever their kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from medreg.errors import DataError
from medreg.reporting.cells import number
from medreg.reporting.page import Section, figure, paragraph
from medreg.reporting.pictures import Picture
from medreg.reporting.results import RunFolder, read_case
from medreg.reporting.tables import OVERALL, methods_in, with_means
from medreg.reporting.views import Array
from medreg.reporting.vocabulary import describe, in_order

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LIMIT = 12  # pictures of cases in one page; about 0.3 MB each
NOT_OF_A_CASE = frozenset({"time_s", "peak_memory_mib"})
Drawing = Callable[
    [Mapping[str, Array], str, Mapping[int, str]], "Figure"
]  # arrays, title, names of label values


def cases_section(
    run: RunFolder,
    draw: Drawing,
    *,
    needs: Sequence[str],
    shown: str,
    hint: str,
    title: str = "Cases",
    prefix: str = "case",
) -> Iterator[Section]:
    """The chosen cases of a run, and a sentence for each file that could not be shown; nothing where there are none.

    Args:
        run: The files of the run.
        draw: Draws one case.
        needs: Arrays that a case must have.
        shown: What a picture shows, for those who cannot see it.
        hint: How the pictures are to be read.
        title: Of the section.
        prefix: Beginning of the names of the pictures' files.
    """
    pictures, notes = [], []
    labels = label_names(run.config, run.record)
    for file in run.cases[:LIMIT]:
        try:
            drawn = draw(read_case(file, needs), file.stem, labels)
        except (DataError, ValueError) as error:
            notes.append(f"cases/{file.name} was left out: {error}")
            continue
        caption, alt = _case_text(run.results, file.stem), f"Overview of case {file.stem}: {shown}."
        pictures.append(Picture.of(drawn, f"{prefix}_{file.stem}", caption=caption, alt=alt, dpi=110))
    if len(run.cases) > LIMIT:
        notes.append(f"{len(run.cases) - LIMIT} more cases lie in {run.path / 'cases'}.")
    if pictures or notes:
        body = (paragraph(hint, kind="hint"), *map(figure, pictures))
        yield Section(title, body, tuple(pictures), tuple(notes))


def label_names(config: str, record: Mapping[str, Any]) -> dict[int, str]:
    """Names of the label values, from the first `labels` mapping in run.json, else in the resolved config."""
    import yaml

    try:
        tree = yaml.safe_load(config) if config else {}
    except yaml.YAMLError:
        tree = {}
    for mapping in (*_label_mappings(record), *_label_mappings(tree)):
        return {int(value): str(name) for name, value in mapping.items()}
    return {}


def _label_mappings(tree: Any) -> Iterator[Mapping[str, int]]:
    if not isinstance(tree, Mapping):
        return
    found = tree.get("labels")
    if isinstance(found, Mapping) and found and all(isinstance(value, int) for value in found.values()):
        yield found
    for child in tree.values():
        yield from _label_mappings(child)


def _case_text(results: pd.DataFrame, stem: str) -> str:
    """Metrics of one case over the whole image, from the first method to the most refined one."""
    stems = results["case"].astype(str).str.replace(r"[^A-Za-z0-9_.-]+", "_", regex=True)
    own = results[stems == stem]
    if own.empty:
        return ""
    own = with_means(own)
    own = own[own["structure"].isin(OVERALL)].drop_duplicates(["method", "metric"])
    methods = methods_in(own)
    parts = []
    for metric in in_order({str(name) for name in own["metric"]} - NOT_OF_A_CASE):
        known, rows = describe(metric), own[own["metric"] == metric].set_index("method")
        values = [float(rows["value"].get(method, float("nan"))) for method in methods]
        shown = " → ".join(number(value, known.decimals) for value in values)
        unit = str(rows["unit"].iloc[0])
        parts.append(f"{known.label} {shown}{'' if unit in ('', '1') else ' ' + unit}")
    return f"{' → '.join(methods)}: {'; '.join(parts)}." if parts else ""
