"""What there is: every table with its state per scale; what a table would do, and how long it would take."""

from __future__ import annotations

from collections.abc import Sequence

from medreg.errors import MedregError
from medreg.io.atomic import read_json
from medreg.reporting.tables import Cell, Table
from medreg.studies.table.committed import read_committed
from medreg.studies.table.places import Place
from medreg.studies.table.plan import TablePlan, make_plan
from medreg.studies.table.table_file import SCALES
from medreg.study.unit import Unit


def list_tables(places: Sequence[Place]) -> Table:
    """Return one line a table: how many of its units are done at each scale, and whether rows are kept with the code.

    Nothing is composed: whether what is there is old, `--dry-run` says.
    """
    rows, notes = [], []
    for place in places:
        cells, title = [], ""
        for scale in SCALES:
            try:
                plan = make_plan(place, scale)
            except MedregError as error:
                if "there is no scale" not in str(error):
                    notes.append(str(error))
                cells.append(Cell("–"))
                continue
            title = plan.table.title
            cells.append(Cell(_state(plan)))
        rows.append((Cell(str(place), title), *cells))
    notes.append("Runs done of runs needed; kept: rows lie with the code and are printed by --committed.")
    return Table("Tables", ("table", *SCALES), tuple(rows), tuple(dict.fromkeys(notes)))


def _state(plan: TablePlan) -> str:
    units = [Unit({"row": row, "seed": seed}) for row, seed in plan.table.units_at(plan.scale)]
    done = 0
    if (plan.folder / "units.jsonl").is_file():
        done = sum(1 for unit in units if (found := plan.store.any(unit)) is not None and not found.failed)
    kept = ", kept" if plan.place.committed(plan.scale).is_file() else ""
    return f"{done} of {len(units)}{kept}"


def dry_run(plan: TablePlan, only: Sequence[str] = ()) -> tuple[Table, float, int]:
    """Return the units with their state and cost, the seconds still to spend, and how many of these are not known."""
    rows, total, unknown = [], 0.0, 0
    elsewhere = _kept(plan)
    for wave in plan.waves(only):
        for request in plan.requests(wave):
            standing = plan.standing(request)
            waits = _partly(request.folder) if standing.state == "missing" else ""
            here = _measured(plan, request.row)
            seconds = elsewhere.get(request.row) if here is None else here
            if standing.state in ("missing", "failed"):
                total, unknown = total + (seconds or 0.0), unknown + (seconds is None)
            origin = " by the kept rows" if here is None else ""
            shown = "not measured" if seconds is None else f"{seconds:.0f} s{origin}"
            why = standing.why or waits
            rows.append((Cell(f"{request.row}, seed {request.seed}"), Cell(standing.state, why), Cell(shown)))
    title = f"{plan.place}, {plan.scale}"
    return Table(title, ("unit", "state", "takes"), tuple(rows)), total, unknown


def _partly(folder: object) -> str:
    record = read_json(folder / "run.json") or {}  # type: ignore[operator]
    status = record.get("status")
    return {None: "", "finished": "its run is there"}.get(status, f"its run is {status}, to be continued")


def _measured(plan: TablePlan, row: str) -> float | None:
    """Return the seconds that a row took here before: the mean over its seeds."""
    known = [
        float(found.cost["seconds"])
        for found in plan.store
        if found.key.get("row") == row and found.cost.get("seconds") and found.key.get("seed") != "probe"
    ]
    return sum(known) / len(known) if known else None


def _kept(plan: TablePlan) -> dict[str, float]:
    """Return the mean seconds of each row in the rows kept with the code: of its runs, else of their training."""
    file = plan.place.committed(plan.scale)
    if not file.is_file():
        return {}
    found: dict[str, list[float]] = {}
    for (row, _), facts in read_committed(plan.table, plan.scale, file).facts.items():
        seconds = facts["seconds"] or facts["cpu_seconds"]
        if seconds:
            found.setdefault(row, []).append(float(seconds))
    return {row: sum(times) / len(times) for row, times in found.items()}
