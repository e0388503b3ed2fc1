"""Numbers and categories that a data set tells of its subjects, as tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from medreg.data.records import Record
from medreg.errors import DataError


class Covariates:
    """What the table of a data set says of every subject, the same for all sets of a split.

    Args:
        records: all records of the data set.
        order: category → its values in the order of their codes; those of other categories are sorted.

    Attributes:
        numbers: names of covariates that are numbers, sorted.
        categories: name of every other covariate → its values; a value is told by its place here.

    Raises:
        DataError: a value that `order` does not name.
    """

    def __init__(
        self, records: Iterable[Record], *, order: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        values: dict[str, set[float | str]] = {}
        for record in records:
            for name, value in record.covariates.items():
                values.setdefault(name, set()).add(value)
        wanted = {name: tuple(map(str, known)) for name, known in (order or {}).items()}
        texts = {name for name, found in values.items() if any(isinstance(value, str) for value in found)}
        texts |= set(wanted)
        self.numbers = tuple(sorted(set(values) - texts))
        self.categories: dict[str, tuple[str, ...]] = {
            name: wanted.get(name, tuple(sorted(map(str, values.get(name, ()))))) for name in sorted(texts)
        }
        for name, known in wanted.items():
            unknown = sorted(set(map(str, values.get(name, ()))) - set(known))
            if unknown:
                raise DataError(
                    f"data.categories.{name} is {', '.join(known)}, but the data set also has {', '.join(unknown)}. "
                    "Add what is missing, in the order of the model's values."
                )

    def __bool__(self) -> bool:
        return bool(self.numbers or self.categories)

    def tensors(self, record: Record, count: int) -> dict[str, Tensor]:
        """Return every covariate, (count,): float32 numbers, NaN if unknown; int64 categories, −1 if unknown."""
        known = record.covariates
        out = {name: torch.full((count,), float(known.get(name, "nan"))) for name in self.numbers}
        for name, values in self.categories.items():
            place = values.index(str(known[name])) if name in known else -1
            out[name] = torch.full((count,), place, dtype=torch.int64)
        return out

    def entry(self, record: Record, count: int) -> dict[str, Any]:
        """Return the batch key `covariates`, or nothing where the data set tells nothing."""
        return {"covariates": self.tensors(record, count)} if self else {}
