"""Where registration starts, chosen by looking at the pair unless someone says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from medreg.errors import DataError
from medreg.registering.modality import Relation, different_contrasts, related_under
from medreg.registering.pair import Pair
from medreg.registering.placement import initial_matrix

CHOSEN = "auto"
CLEARLY_CLOSER = (
    0.2  # correlation by which another start must beat the headers; people differ by less than that
)
CLEARLY_TOLD = 1.3  # times the information beyond none, likewise between two contrasts
SHIFTS = {"centre": "the centres of the two grids", "mass": "the centres of intensity"}


@dataclass(frozen=True, eq=False)
class Looked:
    """What a look at a pair tells.

    Attributes:
        worlds: start → (4, 4) map from fixed to moving world, RAS mm; those under which the images overlap.
        relations: start → how the grey values follow one another there, where enough of them do.
        contrasts: why the images are of different contrasts, None where they may be of one.
    """

    worlds: Mapping[str, Tensor]
    relations: Mapping[str, Relation]
    contrasts: str | None


def look(pair: Pair) -> Looked:
    """Compare the two images under every start."""
    worlds: dict[str, Tensor] = {}
    for how in ("world", *SHIFTS):
        try:
            worlds[how] = initial_matrix(pair, how)
        except DataError:  # they do not overlap there
            continue
    found = {how: related_under(pair, world) for how, world in worlds.items()}
    relations = {how: each for how, each in found.items() if each is not None}
    return Looked(worlds, relations, different_contrasts(relations))


def choose_start(pair: Pair, looked: Looked) -> tuple[Tensor, str | None]:
    """Return the map to start from, and a note where it is not that of the headers.

    The headers are trusted unless the images do not overlap under them, or agree far better elsewhere.

    Raises:
        DataError: there is no start under which the images overlap.
    """
    if not looked.worlds:
        initial_matrix(pair, "world")  # says where each image lies
    known = looked.relations
    if "world" not in looked.worlds:
        others = sorted(looked.worlds, key=lambda how: -_score(known.get(how), looked))
        reason = "the images do not overlap where their headers put them"
        return looked.worlds[others[0]], f"{reason}: {_shifted(others[0])}"
    best = max(known, key=lambda how: _score(known[how], looked), default="world")
    if best == "world" or "world" not in known or not _clearly(known[best], known["world"], looked):
        return looked.worlds["world"], None
    values = {how: f"{_score(known[how], looked):.2f}" for how in ("world", best)}
    measure = "correlation" if looked.contrasts is None else "mutual information"
    return looked.worlds[best], (
        f"{_shifted(best)}: there they agree better than where their headers put them ({measure} {values[best]} "
        f"instead of {values['world']}); --initialise world keeps the headers"
    )


def _score(found: Relation | None, looked: Looked) -> float:
    if found is None:
        return 0.0
    return found.correlation if looked.contrasts is None else found.information


def _clearly(best: Relation, world: Relation, looked: Looked) -> bool:
    if looked.contrasts is None:
        return best.correlation > world.correlation + CLEARLY_CLOSER
    return best.information - 1 > CLEARLY_TOLD * (world.information - 1)


def _shifted(how: str) -> str:
    return f"{SHIFTS[how]} were put together (--initialise {how})"
