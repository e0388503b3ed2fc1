"""Hearts that were made, in memory, and the folder that holds them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from medreg.errors import ConfigError
from medreg.generating.heart import Heart
from medreg.generating.measuring import measured
from medreg.generating.plan import Plan
from medreg.generating.tables import Row, curve_rows, measure_row
from medreg.generating.writing import check_output, write

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Hearts:
    """Hearts that were made.

    Attributes:
        plan: what was asked.
        made: the hearts.
    """

    plan: Plan
    made: Sequence[Heart]

    @classmethod
    def of(cls, plan: Plan) -> Hearts:
        """Make what is planned."""
        return cls(plan, tuple(plan.make()))

    def __len__(self) -> int:
        return len(self.made)

    def __iter__(self) -> Iterator[Heart]:
        return iter(self.made)

    def __getitem__(self, which: int | str) -> Heart:
        """A heart by its place, or by its name.

        Raises:
            ConfigError: there is none of that name.
        """
        if not isinstance(which, str):
            return self.made[which]
        for heart in (*self.made, *self.plan.given):
            if heart.name == which:
                return heart
        raise ConfigError(f"There is no heart {which!r}; there are {', '.join(self.plan.names)}.")

    @property
    def notes(self) -> Sequence[str]:
        """What a person should know: conditions beyond the training's range, or not said; oddities of files."""
        return self.plan.notes

    @cached_property
    def measures(self) -> pd.DataFrame:
        """A row a heart, those of the user first, as measures.csv has them."""
        import pandas as pd

        return pd.DataFrame([measure_row(heart, measured(heart)) for heart in (*self.plan.given, *self.made)])

    @cached_property
    def curves(self) -> pd.DataFrame:
        """A row a heart and frame with the volumes in mL, as curves.csv has them."""
        import pandas as pd

        rows: list[Row] = [row for heart in (*self.plan.given, *self.made) for row in curve_rows(heart)]
        return pd.DataFrame(rows)

    def save(self, folder: str | Path, *, mesh: bool = False, overwrite: bool = False) -> list[Path]:
        """Write the folder that the command writes; return its files.

        Raises:
            ConfigError: it cannot be written, or holds results already.
            MissingExtra: meshes without pyvista.
        """
        place = check_output(self.plan, folder, mesh=mesh, overwrite=overwrite)
        return write(self.plan, self.made, place, mesh=mesh).files
