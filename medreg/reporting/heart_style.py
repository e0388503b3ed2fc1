"""Colours and words of all that is drawn of hearts: one colour a structure, one a source, wherever they stand."""

from __future__ import annotations

from collections.abc import Mapping

from medreg.reporting.style import INK, METHOD_COLOURS

STRUCTURES = ("LV", "MYO", "RV")  # places 1, 2, 3 of a shape
STRUCTURE_COLOURS: Mapping[str, str] = {"LV": "#CB4B4B", "MYO": "#F1C27D", "RV": "#4C86B8"}
WORDS = {"LV": "left ventricle", "MYO": "myocardium", "RV": "right ventricle"}
# Where a heart comes from: the real ones dark, everything made in a colour.
SOURCE_COLOURS: Mapping[str, str] = {
    "real": INK,
    "completed": "#009E73",
    "completed_sample": "#8DD35F",
    "generated": "#8E5BA6",
    "reconstructed": "#56B4E9",
    "aged": "#D55E00",
    "later": "#6b7785",
}
SOURCE_WORDS: Mapping[str, str] = {
    "completed": "completed from ED",
    "completed_sample": "completed, sampled",
    "later": "second visit",
}


def source_word(name: str) -> str:
    """How a source is called in print."""
    return SOURCE_WORDS.get(name, name.replace("_", " "))


def colour_of(name: str, place: int = 0) -> str:
    """The colour of a structure or a source; of anything else one by its place among others."""
    known = {**STRUCTURE_COLOURS, **SOURCE_COLOURS}
    return known.get(name, METHOD_COLOURS[place % len(METHOD_COLOURS)])


def rgb(colour: str) -> tuple[int, int, int]:
    """A colour such as "#1d2733" as red, green and blue from 0 to 255."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
