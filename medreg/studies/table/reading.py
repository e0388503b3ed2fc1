"""Read a table file; what is wrong with it is told with its line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from medreg.config.suggest import did_you_mean
from medreg.errors import ConfigError
from medreg.studies.table.table_file import ClaimSpec, ColumnSpec, RowSpec, ScaleSpec, TableFile

Path_ = tuple[str | int, ...]
KEYS = {name for part in (TableFile, RowSpec, ColumnSpec, ScaleSpec, ClaimSpec) for name in part.model_fields}


@dataclass(frozen=True)
class Source:
    """Where every part of a file stands.

    Attributes:
        file: the file.
        lines: path of keys → line, from 1.
    """

    file: Path
    lines: Mapping[Path_, int]

    def error(self, where: Path_, text: str) -> ConfigError:
        """Return an error that names file, line and place; for a part that is not there, those of what holds it."""
        found = where
        while found and found not in self.lines:
            found = found[:-1]
        place = ".".join(str(part) for part in where)
        return ConfigError(f"{self.file}:{self.lines.get(found, 1)}: {place}: {text}" if place else
                           f"{self.file}:{self.lines.get(found, 1)}: {text}")  # fmt: skip


def read_table(file: Path) -> tuple[TableFile, Source]:
    """Read a table file and check its form.

    Raises:
        ConfigError: unreadable, a name twice, an unknown key, a value of the wrong kind; with file, line and remedy.
    """
    plain, source = read_yaml(file)
    if not isinstance(plain, dict):
        raise source.error((), "a table file is a mapping; docs/how-to/tables.md shows one.")
    try:
        return TableFile.model_validate(plain), source
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = tuple(part for part in first["loc"] if part != "[key]")
        raise source.error(where, _said(first, where)) from error


def _said(problem: Any, where: Path_) -> str:
    if problem["type"] == "extra_forbidden":
        return f"there is no such key.{did_you_mean(str(where[-1]), KEYS)} docs/how-to/tables.md lists them."
    if problem["type"] == "missing":
        return "is missing; add it."
    if problem["type"] == "string_pattern_mismatch":
        return "a name is made of letters, digits, _ and -; rename it."
    said = str(problem["msg"]).removeprefix("Value error, ")
    return f"{said} (found {problem['input']!r})."


def read_yaml(file: Path) -> tuple[Any, Source]:
    """Read a YAML file whose names must not repeat; return plain values and where they stand."""
    text = read_text(file)
    lines: dict[Path_, int] = {}
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is not None:
            _walk(node, (), lines, file, frozenset())
        return yaml.safe_load(text), Source(file, lines)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{file}:{line}: this is not YAML: {error.problem}.") from error
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise ConfigError(f"{file}:{line}: this is not YAML: {error.reason}.") from error
    except ValueError as error:  # a date that the calendar does not have
        raise ConfigError(f"{file}: a value is not YAML: {error}.") from error


def read_text(file: Path) -> str:
    """Return the text of a file in UTF-8, without the mark of byte order that some editors put first.

    Raises:
        ConfigError: it cannot be read, or is in another encoding; with the line.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror or error}.") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigError(f"{file}:{line}: this is not UTF-8; save the file in that encoding.") from error


def _walk(node: yaml.Node, path: Path_, lines: dict[Path_, int], file: Path, within: frozenset[int]) -> None:
    """Note the line of every part; refuse a key that a mapping has twice, of which YAML would keep the last.

    `within` are the nodes that hold this one: an alias to one of these has no end.
    """
    if id(node) in within:
        raise ConfigError(
            f"{file}:{node.start_mark.line + 1}: an alias stands inside what it names; write it out."
        )
    within |= {id(node)}
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in seen:
                what = "two rows have" if path == ("rows",) else "two keys have"
                raise ConfigError(
                    f"{file}:{line}: {what} the name {name!r} (the first is in line {seen[name]}); rename one."
                )
            seen[name] = line
            lines[(*path, name)] = line
            _walk(value, (*path, name), lines, file, within)
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            _walk(item, (*path, number), lines, file, within)
