"""One page for every report: sections of tables and pictures, without any file or address outside itself.

The look lies in `templates/`; Jinja2 escapes every text there.
"""

from __future__ import annotations

import base64
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from medreg import __version__
from medreg.reporting.pictures import Picture
from medreg.reporting.tables import Table

if TYPE_CHECKING:
    from jinja2 import Environment


@dataclass(frozen=True)
class Section:
    """A part of a page with a heading.

    Attributes:
        title: Heading.
        body: Parts, made by the functions below; plain text is escaped.
        pictures: Those of the body that are kept as files too.
        notes: Sentences for the top of the page, such as what could not be shown.
    """

    title: str
    body: tuple[str, ...]
    pictures: tuple[Picture, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Page:
    """What stands on a page.

    Attributes:
        title: Heading.
        name: Of the folder that the page is about.
        status: One word, such as "finished".
        facts: Names and values at the top.
        command: The command that made what the page shows.
        sections: In order.
        again: The command that makes the page again.
        notices: Kind ("bad" or "note") and sentence each.
    """

    title: str
    name: str
    status: str
    facts: Mapping[str, Any]
    command: str
    sections: Sequence[Section]
    again: str
    notices: Sequence[tuple[str, str]] = field(default=())


def render(page: Page) -> str:
    """The page as HTML."""
    return _environment().get_template("page.html").render(page=page, version=__version__)


def paragraph(text: str, *, kind: str = "") -> Markup:
    """A paragraph; `kind` is a class of the style sheet, such as "hint"."""
    return _part("paragraph", text, kind)


def verbatim(text: str) -> Markup:
    """A text with its line breaks."""
    return _part("verbatim", text)


def definitions(facts: Mapping[str, Any]) -> Markup:
    """Facts as a list of name and value."""
    return _part("definitions", facts)


def details(title: str, *parts: str, opened: bool = True) -> Markup:
    """Parts that can be folded away."""
    return _part("details", title, parts, opened)


def boxes(*parts: str) -> Markup:
    """Parts side by side, where there is room."""
    return _part("boxes", parts)


def figure(picture: Picture) -> Markup:
    """A picture inside the page, with caption and alternative text."""
    return _part("figure", picture, base64.b64encode(picture.png).decode("ascii"))


def to_html(table: Table) -> Markup:
    """A table with a caption and row headings, and its notes as a list."""
    return _part("table", table)


def _part(name: str, *values: Any) -> Markup:
    macro = getattr(_environment().get_template("parts.html").module, name)
    return Markup(macro(*values))


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("medreg.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
