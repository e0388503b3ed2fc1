"""What a table file may say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
)

from medreg.reporting.vocabulary import Better, describe

SCALES = ("smoke", "laptop", "paper")
# What is known of a run beside its cases: name → label, unit, better direction, decimals.
FACTS: Mapping[str, tuple[str, str, Better, int]] = {
    "parameters": ("parameters", "1", "neither", 0),
    "steps": ("steps", "1", "neither", 0),
    "cpu_seconds": ("CPU time of training", "s", "neither", 0),
}


def _flat(value: Any) -> Any:
    """Lists in lists become one, so that a file can name a list once (`&name`) and put it into others (`*name`)."""
    if not isinstance(value, list):
        return value
    return [item for part in value for item in (_flat(part) if isinstance(part, list) else [part])]


def _different(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(seeds)) < len(seeds):
        raise ValueError("a seed stands twice; name each once")
    return seeds


def _growing(steps: tuple[int, int]) -> tuple[int, int]:
    if not 0 < steps[0] < steps[1]:
        raise ValueError("write a small number of steps, then a larger one")
    return steps


Overrides = Annotated[tuple[str, ...], BeforeValidator(_flat)]
Name = Annotated[str, StringConstraints(pattern=r"^[\w-]+$")]  # claims, files and folders are named by it
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**32)]
Seeds = Annotated[tuple[Seed, ...], Field(min_length=1), AfterValidator(_different)]


class Strict(BaseModel):
    """A part of a table file: a key that it does not know is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class RowSpec(Strict):
    """A row.

    Attributes:
        label: printed name; that of the row if empty.
        overrides: options of its run, after the table's `common` ones.
        of: another row, whose trained run is tested here with these overrides; no training of its own.
        into: the option of this row that names the run of `of` instead, such as init (training goes on from it) or
            model.run; one that is a list, such as model.runs, names the runs of all its seeds. Options of `of` do not
            hold then.
        work: kind of work, a node with `_target_`; None trains and tests, or tests the run of `of`.
        method: which method of the run's results is meant, such as "unregistered"; the last and most refined if
            empty, of hearts the completion of the model itself.
        tuning: budget spent on choosing this row's settings, in words or as a number of runs.
        shown: false for a row that only serves others.
        scales: scales at which the row exists.
        seeds: of this row alone; one is enough for a method without chance.
    """

    label: str = ""
    overrides: Overrides = ()
    of: str | None = None
    into: str | None = None
    work: dict[str, Any] | None = None
    method: str = ""
    tuning: str | int = ""
    shown: bool = True
    scales: tuple[Literal["smoke", "laptop", "paper"], ...] = ("smoke", "laptop", "paper")
    seeds: Seeds | None = None


class ColumnSpec(Strict):
    """A column.

    Attributes:
        metric: a metric of the evaluation, or a fact of the run (`FACTS`); the column's name if empty.
        structure: anatomical structure; None takes what speaks for the whole image.
        label: printed name.
        scale: factor of the printed values, such as 100 for percent.
        unit: printed unit; that of the rows if None.
        decimals: digits after the point.
        better: direction of better values; needed for a metric that the vocabulary does not know.
    """

    metric: str = ""
    structure: str | None = None
    label: str = ""
    scale: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    unit: str | None = None
    decimals: int | None = Field(default=None, ge=0, le=12)
    better: Better | None = None

    @property
    def fact(self) -> bool:
        """Whether it shows a fact of the run, not a score of its cases."""
        return self.metric in FACTS

    @property
    def direction(self) -> Better:
        """Which values are better."""
        return self.better or (FACTS[self.metric][2] if self.fact else describe(self.metric).better)

    @property
    def digits(self) -> int:
        """Digits after the point."""
        known = FACTS[self.metric][3] if self.fact else describe(self.metric).decimals
        return known if self.decimals is None else self.decimals

    @property
    def title(self) -> str:
        """Printed name without unit."""
        name = self.label or (FACTS[self.metric][0] if self.fact else describe(self.metric).label)
        return name if self.structure is None or self.label else f"{name}, {self.structure}"


class ScaleSpec(Strict):
    """How large the table is made.

    Attributes:
        about: what differs from the paper, in a sentence.
        overrides: options of every row.
        rows: options of single rows.
        seeds: seeds instead of the table's.
        minutes: what the whole table may take on two cores; `--dry-run` says when it is estimated to take longer.
    """

    about: str = ""
    overrides: Overrides = ()
    rows: dict[str, Overrides] = {}
    seeds: Seeds | None = None
    minutes: float | None = Field(default=None, gt=0, allow_inf_nan=False)


class ClaimSpec(Strict):
    """A statement of the paper that the table answers, such as "gradirn.dice > voxelmorph.dice - 0.005".

    Attributes:
        claim: ROW.COLUMN > or < ROW.COLUMN, with a margin, or a number.
        about: where the paper states it.
        expect: scale → answer that was found; `--check` fails when another one is found.
    """

    claim: str
    about: str = ""
    expect: dict[Literal["smoke", "laptop", "paper"], Literal["confirmed", "not confirmed", "undecided"]] = {}


class TableFile(Strict):
    """A table.

    Attributes:
        title: of the table.
        about: what it shows.
        source: paper and table that it repeats.
        data: what the data are, and where they come from.
        protocol: how cases are made and scored, in words.
        common: options of every row.
        rows: by name.
        columns: by name.
        seeds: of every row.
        reference: row that the others are tested against.
        match: what rows have in common: optimisation steps or CPU time of training of the reference, or nothing.
        probe_steps: steps of the two short trainings that measure what a step costs, for `match: cpu_time`.
        scales: by name.
        claims: to be answered.
        figures: further figures of the page, nodes with `_target_`; see `medreg.studies.table.further_figures`.
    """

    title: str
    about: str = ""
    source: str = ""
    data: str = ""
    protocol: str = ""
    common: Overrides = ()
    rows: dict[Name, RowSpec] = Field(min_length=1)
    columns: dict[Name, ColumnSpec] = Field(min_length=1)
    seeds: Seeds = (1,)
    reference: str | None = None
    match: Literal["steps", "cpu_time", "none"] = "none"
    probe_steps: Annotated[tuple[int, int], AfterValidator(_growing)] = (10, 40)
    scales: dict[Literal["smoke", "laptop", "paper"], ScaleSpec]
    claims: tuple[ClaimSpec, ...] = ()
    figures: tuple[dict[str, Any], ...] = ()

    @field_validator("columns", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        """A column without words of its own shows the metric of its name."""
        if not isinstance(value, dict):
            return value
        whole = {name: {} if spec is None else spec for name, spec in value.items()}
        return {n: {"metric": n, **spec} if isinstance(spec, dict) else spec for n, spec in whole.items()}

    @field_validator("claims", mode="before")
    @classmethod
    def _spelt(cls, value: Any) -> Any:
        """A claim may be a bare text."""
        if not isinstance(value, list):
            return value
        return [{"claim": item} if isinstance(item, str) else item for item in value]

    def seeds_at(self, scale: str, row: str) -> tuple[int, ...]:
        """Return the seeds of a row at a scale."""
        return self.rows[row].seeds or self.scales[scale].seeds or self.seeds  # type: ignore[index]

    def units_at(self, scale: str) -> list[tuple[str, int]]:
        """Return row and seed of every unit of a scale."""
        return [(row, seed) for row in self.rows_at(scale) for seed in self.seeds_at(scale, row)]

    def rows_at(self, scale: str) -> dict[str, RowSpec]:
        """Return the rows that exist at a scale."""
        return {name: row for name, row in self.rows.items() if scale in row.scales}

    def label(self, row: str) -> str:
        """Return the printed name of a row."""
        return self.rows[row].label or row
