"""The report of a benchmark: `report.md` with its figures, and the marked tables of a document."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from experiments.performance.augmentation_sheet import augmentation_targets_sheet
from experiments.performance.figures import save_figures
from experiments.performance.frame import read_frame
from experiments.performance.hearts_sheet import hearts_targets_sheet
from experiments.performance.posterior_targets import posterior_targets_sheet
from experiments.performance.run_sheets import RUN_SHEETS
from experiments.performance.sheet import Sheet
from experiments.performance.sheets import SHEETS
from experiments.performance.targets import targets_sheet
from medreg.errors import ConfigError

_MARK = re.compile(r"(<!-- bench:(?P<name>\w+) -->\n).*?(<!-- /bench -->)", re.DOTALL)
IMAGES = "images"
_ALL = (
    *SHEETS, *RUN_SHEETS, targets_sheet, posterior_targets_sheet, augmentation_targets_sheet, hearts_targets_sheet,
)  # fmt: skip


def make_sheets(frame: pd.DataFrame) -> list[Sheet]:
    """All tables that have rows."""
    made = [make(frame) for make in _ALL]
    return [sheet for sheet in made if sheet.rows]


def write_report(folder: Path) -> list[Sheet]:
    """Write `report.md` and the figures beside `bench.csv`, and return the tables."""
    frame = read_frame(folder)
    sheets = make_sheets(frame)
    figures = [path for path in save_figures(frame, folder) if path.suffix == ".png"]
    parts = ["# Benchmark", *(f"## {sheet.title}\n\n{sheet.markdown()}" for sheet in sheets)]
    parts += [f"![{path.stem}]({path.name})" for path in figures]
    (folder / "report.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return sheets


def fill_document(document: Path, folder: Path) -> None:
    """Replace what stands between `<!-- bench:NAME -->` and `<!-- /bench -->` by the table of that name.

    Tables without measurements stay as they are, and the machine's where its rates were not measured. PNG
    figures go to `images/` beside the document.

    Raises:
        ConfigError: the document does not exist, or marks a table that does not exist.
    """
    if not document.is_file():
        raise ConfigError(
            f"--document {document} does not exist; give a page with <!-- bench:operators --> marks."
        )
    frame = read_frame(folder)
    sheets = {sheet.name: sheet for sheet in (make(frame) for make in _ALL)}
    no_rates = frame[frame["section"] == "floors"].empty

    def replaced(found: re.Match[str]) -> str:
        sheet = sheets.get(found["name"])
        if sheet is None:
            names = ", ".join(sheets)
            raise ConfigError(f"{document} marks a table bench:{found['name']}; there are {names}.")
        if not sheet.rows or (sheet.name == "machine" and no_rates):
            return found[0]
        picture = f"![{sheet.title}]({IMAGES}/{sheet.figure}.png)\n\n" if sheet.figure else ""
        return f"{found[1]}\n{picture}{sheet.markdown()}\n\n{found[3]}"

    document.write_text(_MARK.sub(replaced, document.read_text(encoding="utf-8")), encoding="utf-8")
    for path in save_figures(frame, document.parent / IMAGES):
        if path.suffix == ".svg":
            path.unlink()
