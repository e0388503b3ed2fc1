"""Rows that say how far our values are from those of a release."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from experiments.performance.inputs import Inputs
from experiments.performance.measurements import Row
from experiments.performance.parity import Difference
from experiments.performance.peers import released
from experiments.performance.session import Session
from experiments.performance.sizes import Size
from experiments.performance.work import Contender


def measure_parity(
    session: Session,
    section: str,
    item: str,
    size: Size,
    differences: Callable[[Sequence[Contender], Inputs], Sequence[Difference]],
) -> None:
    """Compare with the releases that were given, once a session, and say what was found.

    Args:
        session: that measures.
        section: of the rows.
        item: of the rows.
        size: on which values are compared.
        differences: what differs, of the adapters of the checkouts and images of that size.
    """
    if session.measured.has(section, item, size.name, "values"):
        return
    found = differences(released(session.settings.release), Inputs(size, session.settings.device))
    rows = [
        Row(section, item, size.name, name, "values", quantity, value, note=note)
        for name, quantity, value, note in found
    ]
    session.measured.add(rows)
    for row in rows:
        session.say(f"  {row.contender}: {row.quantity} {row.value:.2g}")
