"""Errors of loading, which read the same whether a worker process or the main one met them."""

from __future__ import annotations

from medreg.errors import DataError


class LoadingError(DataError):
    """Something is wrong with the data of a batch.

    A worker process of a DataLoader re-raises an error as `type(text of the whole traceback)`; only the
    sentence after the class name is kept.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message.rpartition(f"{type(self).__name__}: ")[2].strip())


class CorruptFile(LoadingError):
    """A file of the data set cannot be read."""


class UnequalShapes(LoadingError):
    """Images of different size cannot share a batch."""


class FlatVolume(LoadingError):
    """A single slice where a volume is needed."""


class PointsBetweenSlices(LoadingError):
    """Landmarks of a stack whose slices are registered one by one."""
