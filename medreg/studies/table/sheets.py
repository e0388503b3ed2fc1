"""A table as people read it: the numbers, tests against the reference, published values, claims, and what rows cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from medreg.reporting.cells import NONE, best, number, spread
from medreg.reporting.statistics import Interval, p_value
from medreg.reporting.tables import Cell, Table
from medreg.reporting.vocabulary import COST, titled
from medreg.studies.table.claims import MEAN_OF, ClaimAnswer
from medreg.studies.table.estimates import Comparison, Estimate, TableResults, estimate
from medreg.studies.table.published import Published

PublishedNumbers = Mapping[tuple[str, str], Published]
STALE = "†"


def estimates_of(results: TableResults, column: str) -> dict[str, Estimate | None]:
    """Return row → cell of a column."""
    return {row: estimate(results.values(row, column)) for row in results.rows}


def best_of(results: TableResults, column: str) -> set[str]:
    """Return the rows that are best in a column, all that print the same; none where no direction is better."""
    spec = results.table.columns[column]
    found = {row: e.mean for row, e in estimates_of(results, column).items() if e is not None}
    top = best(list(found.values()), "neither" if spec.metric in COST else spec.direction, spec.digits)
    return {row for row, bold in zip(found, top, strict=True) if bold}


def main_sheet(results: TableResults, published: PublishedNumbers) -> Table:
    """The numbers: mean ± SD over cases, SD over seeds below, best in bold, published values beside."""
    table = results.table
    header, columns = [""], []
    for name, spec in table.columns.items():
        header.append(titled(spec.title, results.unit(name), spec.direction))
        cells, top = estimates_of(results, name), best_of(results, name)
        columns.append([_cell(cells[row], spec.digits, bold=row in top) for row in results.rows])
        if any(column == name for _, column in published):
            header.append(f"{spec.title}, published")
            numbers = [
                _published(published.get((row, name)), cells[row], spec.digits) for row in results.rows
            ]
            columns.append(numbers)
    rows = tuple(
        (Cell(_label(results, row)), *(column[i] for column in columns)) for i, row in enumerate(results.rows)
    )
    return Table(f"{table.title} ({results.scale})", tuple(header), rows, tuple(_notes(results)))


def _cell(found: Estimate | None, digits: int, *, bold: bool) -> Cell:
    if found is None:
        return Cell(NONE)
    seeds = f"± {number(found.sd_seeds, digits)}" if math.isfinite(found.sd_seeds) and found.sd_seeds else ""
    return Cell(spread(found.mean, found.sd_cases, digits), seeds, bold)


def _published(theirs: Published | None, ours: Estimate | None, digits: int) -> Cell:
    if theirs is None:
        return Cell(NONE)
    less = f"ours {number(ours.mean - theirs.value, digits, sign=True)}" if ours is not None else ""
    return Cell(f"{number(theirs.value, digits)}, {theirs.standing}", less)


def _label(results: TableResults, row: str) -> str:
    stale = any(s.state == "stale" for (name, _), s in results.standings.items() if name == row)
    return f"{results.table.label(row)} {STALE}" if stale else results.table.label(row)


def _notes(results: TableResults) -> list[str]:
    cells = [estimate(results.values(r, c)) for r in results.rows for c in results.table.columns]
    cases = sorted({e.cases for e in cells if e})
    seeds = sorted({e.seeds for e in cells if e})
    notes = []
    if seeds:
        kept = {str(name) for name in results.frame["case"] if str(name).startswith(MEAN_OF)}
        several = f"{_span([c for c in cases if c > 1] or cases)} cases"
        counts = f"{', '.join(sorted(kept)) or several}, {_span(seeds)} seeds"
        notes.append(
            f"Mean ± SD over cases, each averaged over seeds; the second ± is the SD over seeds; {counts}."
        )
    if results.origin:
        notes.append(results.origin)
    for (row, seed), standing in results.standings.items():
        if standing.state in ("missing", "failed"):
            why = f": {standing.why}" if standing.why else ""
            notes.append(f"Hole: {results.table.label(row)}, seed {seed}, {standing.state}{why}")
    stale: dict[tuple[str, str], list[str]] = {}
    for (row, seed), standing in results.standings.items():
        if standing.state == "stale":
            stale.setdefault((row, standing.why), []).append(str(seed))
    for (row, why), numbers in stale.items():
        name = results.table.label(row)
        notes.append(f"{STALE} {name}, seed {', '.join(numbers)}: {why}; --refresh runs it again.")
    return notes


def _span(counts: Sequence[int]) -> str:
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def test_sheet(results: TableResults, comparisons: Sequence[Comparison]) -> Table | None:
    """Rows against the reference; None where there is nothing to test."""
    if not comparisons:
        return None
    table, rows = results.table, []
    for test in comparisons:
        digits = table.columns[test.column].digits + 1
        interval = _interval(test.difference, digits)
        rows.append(
            (
                Cell(table.label(test.row)),
                Cell(table.columns[test.column].title),
                Cell(number(test.difference.mean, digits, sign=True)),
                Cell(interval),
                Cell(str(test.difference.n or NONE)),
                Cell(_p(test.p_cases), _raw(test.raw_cases)),
                Cell(_p(test.p_seeds), _raw(test.raw_seeds)),
            )
        )  # fmt: skip
    pooled = any(test.difference.n == 0 for test in comparisons)
    notes = (
        "Differences are paired by case and averaged over seeds, with 95 % bootstrap intervals. Over cases: two-sided "
        "Wilcoxon signed-rank test (six cases or more). Over seeds: Welch's t-test of the seeds' means. Both are "
        "corrected for the number of tests in this table by Holm's method; uncorrected values second.",
        *(("What is told of all cases together is tested over seeds alone.",) if pooled else ()),
    )
    header = ("row", "column", "difference", "95 % interval", "cases", "p over cases", "p over seeds")
    return Table(f"Against {table.label(str(table.reference))}", header, tuple(rows), notes)


def _interval(found: Interval, digits: int) -> str:
    if not math.isfinite(found.low):
        return NONE
    return f"{number(found.low, digits, sign=True)} to {number(found.high, digits, sign=True)}"


def _p(value: float) -> str:
    return p_value(value) if math.isfinite(value) else NONE


def _raw(value: float) -> str:
    return (
        f"uncorrected {p_value(value).removeprefix('p ').removeprefix('= ')}" if math.isfinite(value) else ""
    )


def claim_sheet(results: TableResults, answers: Sequence[ClaimAnswer]) -> Table | None:
    """Claims with their answers; None without claims."""
    if not answers:
        return None
    rows = []
    for found in answers:
        left = found.spec.claim.replace(">", " ").replace("<", " ").split()[0].split(".")[1]
        digits = results.table.columns[left].digits + 1
        d = found.difference
        expected = found.expected(results.scale)
        differs = expected is not None and expected != found.answer
        rows.append(
            (
                Cell(found.spec.claim),
                Cell(found.answer, f"expected: {expected}" if differs else "", bold=True),
                Cell(number(d.mean, digits, sign=True)),
                Cell(_interval(d, digits)),
                Cell(found.why),
                Cell(found.spec.about),
            )
        )
    notes = (
        "Confirmed: the 95 % interval of the difference over cases lies wholly on the claimed side and every seed "
        "agrees. Not confirmed: it lies wholly on the other side. Undecided: neither.",
    )
    header = ("claim", "answer", "left − right", "95 % interval", "rests on", "stated")
    return Table("Claims", header, tuple(rows), notes)


def cost_sheet(results: TableResults) -> Table:
    """What every row cost: steps, CPU time of training, parameters, time a case, tuning."""
    rows = []
    for row in results.rows:
        own = [f for (name, _), f in results.facts.items() if name == row]
        times = results.frame[(results.frame["row"] == row) & (results.frame["metric"] == "time_s")]["value"]
        spent = results.table.rows[row].tuning
        rows.append(
            (
                Cell(results.table.label(row)),
                Cell(_mean([f.get("steps") for f in own], 0)),
                Cell(_mean([f.get("cpu_seconds") for f in own], 1)),
                Cell(_mean([f.get("parameters") for f in own], 0)),
                Cell(number(float(times.mean()), 3) if len(times) else NONE),
                Cell(f"{spent} runs" if isinstance(spent, int) else spent or "not stated"),
            )
        )
    header = ("row", "steps", "CPU s of training", "parameters", "s a case", "tuning")
    matched = {
        "none": "not matched",
        "steps": "matched by steps",
        "cpu_time": "matched by CPU time of training",
    }
    notes = (
        f"Means over seeds; rows are {matched[results.table.match]}. Steps and CPU time are those of training.",
        f"Commit {_all(results, _commit)}. Hardware: {_all(results, _hardware)}.",
    )
    return Table("Cost", header, tuple(rows), notes)


def _all(results: TableResults, of: Callable[[Mapping[str, object]], str]) -> str:
    return ", ".join(sorted({of(facts) for facts in results.facts.values()})) or NONE


def _mean(values: Sequence[float | None], digits: int) -> str:
    known = [float(value) for value in values if value is not None and math.isfinite(float(value))]
    return number(sum(known) / len(known), digits) if known else NONE


def _hardware(facts: Mapping[str, object]) -> str:
    return str(facts.get("hardware") or "not recorded")


def _commit(facts: Mapping[str, object]) -> str:
    commit = facts.get("commit")
    return f"{str(commit)[:8]}{' with changes' if facts.get('dirty') else ''}" if commit else "not recorded"
