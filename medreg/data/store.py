"""Loaded records, cached by MONAI in memory or on disk; a broken cache file is made anew."""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from monai.data.dataset import CacheDataset, Dataset, PersistentDataset
from monai.transforms.compose import Compose
from torch import Tensor

from medreg.data.failures import CorruptFile
from medreg.errors import ConfigError, DataError
from medreg.io.atomic import replacing
from medreg.io.digest import digest_of

logger = logging.getLogger(__name__)
_LOADING_ERRORS = (RuntimeError, OSError, ValueError, EOFError)
_CACHE_ERRORS = (*_LOADING_ERRORS, KeyError, pickle.UnpicklingError)


@dataclass(frozen=True)
class Cache:
    """Where loaded images are kept between epochs.

    Attributes:
        kind: "memory", "disk" (survives the run), or "none".
        dir: folder of the disk cache.
    """

    kind: Literal["memory", "disk", "none"]
    dir: str

    def __post_init__(self) -> None:
        if self.kind not in ("memory", "disk", "none"):
            raise ConfigError(f"data.cache.kind is {self.kind!r}; choose memory, disk or none.")


class RecordStore:
    """Loaded records by their item description.

    Args:
        items: descriptions (`record_item`, `truth_item`).
        transform: the deterministic part.
        cache: where to keep results.
        key: settings of the deterministic part, part of the key of a cached file.
    """

    def __init__(
        self, items: Sequence[Mapping[str, Any]], transform: Compose, *, cache: Cache, key: Mapping[str, Any]
    ) -> None:
        keyed = [{**item, "settings": json.dumps(key, sort_keys=True)} for item in items]
        self.index = {item_name(item): position for position, item in enumerate(items)}
        self.items = keyed
        self.transform = transform
        self.dataset = _dataset(keyed, transform, cache)

    def __len__(self) -> int:
        return len(self.items)

    def warm(self) -> None:
        """Fill the memory cache before worker processes copy it; unreadable files are met later."""
        for item in self.items if isinstance(self.dataset, CacheDataset) else ():
            with suppress(CorruptFile):
                self[item]

    def __getitem__(self, item: Mapping[str, Any]) -> Mapping[str, Tensor]:
        """Return the tensors of an item.

        Raises:
            CorruptFile: a file cannot be read; the message names it.
        """
        position = self.index.get(item_name(item))
        try:
            # The motion of a pair that was just drawn is not among the known items: read it, keep nothing.
            return self.transform(dict(item)) if position is None else self.dataset[position]
        except (DataError, *_LOADING_ERRORS) as error:
            # No chain: the original message may hold a path with a person's number.
            raise CorruptFile(_sentence(error, item)) from None


def item_name(item: Mapping[str, Any]) -> str:
    """Return what identifies an item within a run: points may depend on the partner of an image."""
    return (
        str(item["truth"])
        if "truth" in item
        else f"{item['id']} {item.get('keypoints', '')} {item.get('more_keypoints', '')}"
    )


def _sentence(error: BaseException, item: Mapping[str, Any]) -> str:
    """Find our own message in the chain of causes, or name the file and the innermost cause."""
    cause: BaseException | None = error
    last = error
    while cause is not None:
        if isinstance(cause, DataError):
            return _discreet(str(cause), item)
        last = cause
        cause = cause.__cause__
    name = item.get("image_name", item.get("truth"))
    return f"{name} cannot be read ({type(last).__name__}: {last}). Replace the file or set "
    "data.on_corrupt=skip."


def _discreet(message: str, item: Mapping[str, Any]) -> str:
    """Replace paths by the names under which their files may be shown."""
    for key, name in item.items():
        if key.endswith("_name"):
            message = message.replace(item[key.removesuffix("_name")], name)
    return message


def _dataset(items: list[dict[str, Any]], transform: Compose, cache: Cache) -> Dataset:
    if cache.kind == "memory":
        return CacheDataset(
            items, transform, progress=False, copy_cache=False, runtime_cache=True, num_workers=None
        )
    if cache.kind == "disk":
        folder = _home_or_none(cache.dir)
        try:
            return _RebuildingDataset(items, transform, cache_dir=folder, hash_func=_digest)
        except (OSError, ValueError) as error:  # MONAI makes the folder
            logger.warning(
                "The image cache %s cannot be used (%s); images are read anew each time. MEDREG_CACHE names another "
                "place.",
                folder,
                error,
            )
    return Dataset(items, transform)


def _home_or_none(name: str) -> Path:
    """Return a folder with its `~` replaced, which stays where there is no home."""
    try:
        return Path(name).expanduser()
    except RuntimeError:
        return Path(name)


def _digest(item: Mapping[str, Any]) -> bytes:
    """Key of a cached file: paths, sizes, times and settings of the item."""
    return digest_of(item).encode()


class _RebuildingDataset(PersistentDataset):
    """MONAI's disk cache, which here also survives a truncated cache file and a full disk."""

    def _cachecheck(self, item_transformed: Any) -> Any:
        assert self.cache_dir is not None
        file = self.cache_dir / f"{_digest(item_transformed).decode()}.pt"
        if file.is_file():
            try:
                return torch.load(file, weights_only=True)
            except _CACHE_ERRORS as error:
                logger.warning("Cached file %s is broken (%s); it is made anew.", file, type(error).__name__)
                file.unlink(missing_ok=True)
        item = self._pre_transform(dict(item_transformed))
        self._write(item, file)
        return item

    def _write(self, item: Any, file: Path) -> None:
        try:
            with replacing(file) as part:
                torch.save(item, part)
        except (OSError, RuntimeError) as error:
            # The cache is a convenience: a full disk must not end a training that could go on without it.
            logger.warning(
                "The image cache %s cannot be written (%s); continuing without it.", file.parent, error
            )
