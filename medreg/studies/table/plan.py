"""What a table needs at a scale: its units of work, and how each stands."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

from omegaconf import DictConfig, OmegaConf, open_dict

from medreg.config.instantiate import build
from medreg.config.suggest import did_you_mean, parse
from medreg.errors import ConfigError, MedregError
from medreg.io.digest import digest_of
from medreg.runs.code import changed, code_of, code_of_targets
from medreg.studies.table.checking import check_names
from medreg.studies.table.places import Place
from medreg.studies.table.published import read_published
from medreg.studies.table.reading import Source, read_table
from medreg.studies.table.run_folder import began
from medreg.studies.table.table_file import RowSpec, TableFile
from medreg.studies.table.work import EvaluationWork, Request, TrainingWork, Work, as_override
from medreg.study.store import Store

State = Literal["there", "stale", "failed", "missing"]
_ABSENT = object()  # an option that a configuration does not have; null is one that it has


@dataclass(frozen=True)
class UnitStanding:
    """How a unit stands: there, stale (there, but made by other code or of other data), failed or missing; and why."""

    state: State
    why: str = ""


@dataclass
class TablePlan:
    """A table at a scale.

    Attributes:
        place: where its file is.
        table: its content.
        source: where every part of the file stands.
        scale: smoke, laptop or paper.
        options: of the command line, for every row.
        matched: row → options that make it comparable with the reference; filled while the table is made.
    """

    place: Place
    table: TableFile
    source: Source
    scale: str
    options: tuple[str, ...] = ()
    matched: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _composed: dict[str, DictConfig] = field(default_factory=dict)
    _data: dict[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Folder of everything that the table writes."""
        outputs = Path(os.environ.get("MEDREG_OUTPUTS", "outputs"))
        return outputs / "tables" / self.place.paper / self.place.name / self.scale

    @cached_property
    def store(self) -> Store:
        """Rows of the units."""
        return Store(self.folder / "units.jsonl")

    @property
    def rows(self) -> dict[str, RowSpec]:
        """Rows of this scale."""
        return self.table.rows_at(self.scale)

    def waves(self, only: Iterable[str] = ()) -> list[list[str]]:
        """Return the rows in the order of their needs: the reference of a match, trainings, what needs these.

        Args:
            only: rows that are wanted; what these need comes along.
        """
        first = [] if self.table.match == "none" else [str(self.table.reference)]
        wanted = dict.fromkeys([*first, *(only or self.rows)])
        for name in list(wanted):
            wanted.update(dict.fromkeys(self._needs(name)))
        waves: dict[int, list[str]] = {}
        for name in wanted:
            waves.setdefault(-1 if name in first else len(self._needs(name)), []).append(name)
        return [waves[depth] for depth in sorted(waves)]

    def _needs(self, row: str) -> list[str]:
        """Return the rows whose runs a row needs, nearest first."""
        of = self.rows[row].of
        return [] if of is None else [of, *self._needs(of)]

    def work(self, row: str) -> Work:
        """Return the kind of work of a row."""
        spec = self.rows[row]
        if spec.work is None:
            return EvaluationWork() if spec.of and spec.into is None else TrainingWork()
        try:
            found = build(spec.work)
        except MedregError as error:
            raise self.source.error(("rows", row, "work"), str(error)) from error
        if not all(hasattr(found, name) for name in Work.__abstractmethods__):
            raise self.source.error(
                ("rows", row, "work"),
                "this is no kind of work; write {_target_: package.Class}, derived from "
                "medreg.studies.table.work.Work.",
            )
        return cast("Work", found)

    def overrides(self, row: str) -> list[str]:
        """Return the options of a row at this scale, the later of two that set the same."""
        spec, scale = self.rows[row], self.table.scales[self.scale]  # type: ignore[index]
        tested = None if spec.into else spec.of
        if tested is not None and getattr(self.work(row), "own_options", False):
            return merged([*spec.overrides, *scale.rows.get(row, ())])
        words = ["logger=none", *self.table.common]
        if tested is not None:
            words += [*self.rows[tested].overrides, *scale.overrides, *scale.rows.get(tested, ())]
        words += spec.overrides
        words += [] if tested is not None else scale.overrides
        words += [*scale.rows.get(row, ()), *self.matched.get(row, ()), *self.options]
        return merged(words)

    def config(self, row: str) -> DictConfig:
        """Return the composed configuration of a row, with the seed of the configuration.

        Raises:
            ConfigError: an option that does not exist; with file and line.
        """
        work = self.work(row)
        try:
            words = self.overrides(row)
            key = digest_of(words, self.rows[row].work)
            if key not in self._composed:
                self._composed[key] = work.compose(words)
        except MedregError as error:
            raise self.source.error(("rows", row, "overrides"), str(error)) from error
        return self._composed[key]

    def request(self, row: str, seed: int) -> Request:
        """Return one unit of work with everything that determines it."""
        spec, work, cfg = self.rows[row], self.work(row), self.config(row).copy()
        source = self.request(spec.of, seed).folder if spec.of is not None and spec.into is None else None
        settings, when = work.settings(seed, source), began(source) if source else None
        if spec.into is not None:
            runs = self._runs(row, seed, cfg)
            settings[spec.into] = runs
            when = " ".join(str(began(Path(run))) for run in ([runs] if isinstance(runs, str) else runs))
        with open_dict(cfg):
            for key, value in settings.items():
                OmegaConf.update(cfg, key, value)
        words = (*self.overrides(row), *(as_override(key, value) for key, value in settings.items()))
        plain = OmegaConf.to_container(cfg, resolve=False)
        assert isinstance(plain, dict)
        code = code_of({str(key): value for key, value in plain.items()})
        kind = type(work)
        if kind not in (TrainingWork, EvaluationWork):
            code |= code_of_targets([f"{kind.__module__}.{kind.__qualname__}"])
        return Request(
            row, seed, spec.method, words, work.folder(cfg, self.folder / "work" / f"{row}_s{seed}"),
            code, OmegaConf.select(cfg, "data"), source, when,
        )  # fmt: skip

    def _runs(self, row: str, seed: int, cfg: DictConfig) -> str | list[str]:
        """Return what `into` of a row is set to: the folder of a run of `of`, or those of all its seeds."""
        spec = self.rows[row]
        assert spec.of is not None
        assert spec.into is not None
        value = OmegaConf.select(cfg, spec.into, default=_ABSENT)
        if value is _ABSENT:
            raise self.source.error(
                ("rows", row, "into"),
                f"this row has no option {spec.into}; there are init, model.run, model.runs.",
            )
        if not OmegaConf.is_list(value):
            return str(self.request(spec.of, seed).folder)
        return [str(self.request(spec.of, one).folder) for one in self.table.seeds_at(self.scale, spec.of)]

    def requests(self, rows: Iterable[str]) -> list[Request]:
        """Return the units of rows, seed by seed: stopped early, every row has something."""
        units = [(seed, row) for row in rows for seed in self.table.seeds_at(self.scale, row)]
        return [self.request(row, seed) for seed, row in sorted(units, key=lambda unit: unit[0])]

    def standing(self, request: Request) -> UnitStanding:
        """Say whether a unit has rows, and whether these are what today's code and data would give."""
        found = self.store.any(request.unit)
        if found is None:
            return UnitStanding("missing")
        if found.failed:
            return UnitStanding("failed", found.error)
        if Path(str(found.cost.get("folder", request.folder))).name != request.folder.name:
            return UnitStanding("missing", "options changed since")
        why = self._changes(request, found.cost, found.digest)
        return UnitStanding("stale", why) if why else UnitStanding("there")

    def _changes(self, request: Request, facts: Any, digest: str) -> str:
        if digest != request.unit.digest:
            if facts.get("code") is None:
                return "made before code was recorded"
            names = changed(facts["code"], request.code)
            if names:
                more = f" and {len(names) - 2} more modules" if len(names) > 2 else ""
                return f"{', '.join(names[:2])}{more} changed since"
            return "the run that it tests was trained again since"
        before = facts.get("data")
        now = self._fingerprint(request.data) if before else None
        if now and _without_times(before) != _without_times(_told_by(before, now)):
            return "the data changed since"
        return ""

    def _fingerprint(self, data: Any) -> Any:
        """Return what identifies the data of a unit today; None where that cannot be said here."""
        if data is None:
            return None
        plain = OmegaConf.to_container(data, resolve=True)
        key = digest_of({k: v for k, v in plain.items() if k != "seed"} if isinstance(plain, dict) else plain)
        if key not in self._data:
            try:
                module = build(data)
                self._data[key] = module.fingerprint()
            except (MedregError, OSError):
                self._data[key] = None
        return self._data[key]


def make_plan(place: Place, scale: str, options: Sequence[str] = ()) -> TablePlan:
    """Read a table and check everything that can be checked before work is done, its published numbers among it.

    Raises:
        ConfigError: with file, line and remedy.
    """
    table, source = read_table(place.file)
    check_names(table, source)
    read_published(place.published, place.name, table)
    if scale not in table.scales:
        raise source.error(("scales",), f"there is no scale {scale!r}; it has {', '.join(table.scales)}.")
    return TablePlan(place, table, source, scale, tuple(options))


def known_rows(plan: TablePlan, names: Sequence[str]) -> list[str]:
    """Return names of rows, or raise a `ConfigError` for one that the table does not have at this scale."""
    for name in names:
        if name not in plan.rows:
            hint = did_you_mean(name, plan.rows)
            raise ConfigError(f"{plan.place} has no row {name!r}.{hint} Its rows: {', '.join(plan.rows)}.")
    return list(names)


def merged(words: Sequence[str]) -> list[str]:
    """Keep the last of the options that set the same key, because Hydra refuses a group that is chosen twice.

    Raises:
        ConfigError: an option that cannot be read, or that names several values: a row is one run a seed.
    """
    last = {}
    for item in parse(list(words)):
        if item.is_sweep_override():
            raise ConfigError(
                f"{item.input_line}: a row has one value of each option; write a row for each, or key=[a,b] for a list."
            )
        last[item.key_or_group, item.is_delete()] = str(item.input_line)
    return list(last.values())


def _told_by(before: Any, now: Any) -> Any:
    """Leave out what was not yet recorded when the rows were made."""
    if not isinstance(before, dict) or not isinstance(now, dict):
        return now
    return {key: value for key, value in now.items() if key in before or key != "content"}


def _without_times(fingerprint: Any) -> Any:
    return (
        {k: v for k, v in fingerprint.items() if k != "times"}
        if isinstance(fingerprint, dict)
        else fingerprint
    )
