"""What may be built from a configuration that came with a run folder: our own classes, each where it belongs.

A run folder may be a stranger's. Its configuration is checked as a whole before anything is built: every class must
be of the kind that its slot expects (of a constructor's argument, the annotation says it), must be defined in a room
that computes, and no option may name code. Classes that resolve dotted names, such as MONAI's readers of images, are
in none of these rooms.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import pytorch_lightning as pl
from torch import nn

from medreg.config.instantiate import check_target
from medreg.config.trusted import trusted_prefixes
from medreg.data.preprocess import Preprocess
from medreg.errors import ConfigError
from medreg.geometry.transformation import Transformation
from medreg.losses.regularisation.base import Regulariser
from medreg.losses.similarity.base import Similarity
from medreg.models.base import RegistrationModel

ROOMS = tuple(
    f"medreg.{room}."
    for room in (
        "augmentation", "data", "geometry", "inference", "losses", "metrics", "models", "tasks",
        "runs.members",  # the runs that it names are opened by the same check
    )
)  # fmt: skip
NETWORKS = (
    "torch.nn.modules.",
    "monai.networks.nets.unet.",
    "monai.losses.dice.",
)  # layers, networks and losses that name nothing themselves
OPTIMISERS = "torch.optim."  # only as functions that are not called yet
SLOTS: Mapping[str, type] = {
    "model": nn.Module,
    "refine": RegistrationModel,
    "similarity": Similarity,
    "regularisation": Regulariser,
    "transformation": Transformation,
    "task": pl.LightningModule,
    "data": pl.LightningDataModule,
    "augmentation": object,
    "semi": object,
    "convolution": object,
    "metrics": object,
}
INNER: Mapping[str, type] = {"data.preprocess": Preprocess}  # built alone, so its slot is named here


def check_configuration(config: Mapping[str, Any], source: str) -> None:
    """Refuse a configuration from which something else than our own could be built; nothing is built here.

    Args:
        config: resolved configuration of a run.
        source: where it comes from, for messages.

    Raises:
        ConfigError: what was refused, where it stands, and why.
    """
    for slot, base in SLOTS.items():
        for where, reason in _refusals(config.get(slot), slot, INNER.get(slot, base)):
            raise ConfigError(
                f"{source} is refused, and nothing of it was built: {where} {reason}. A run folder may name medreg's "
                "own classes, each in its place, and classes of the packages in MEDREG_ALLOW. Do not use a run whose "
                "origin you do not know."
            )


def _refusals(node: Any, where: str, base: type | None) -> Iterator[tuple[str, str]]:
    """Yield place and reason of everything in a node that must not be built; `base` None: any class of ours."""
    if isinstance(node, str) and "${" in node:
        yield where, f"holds {node!r}, an interpolation"
    elif isinstance(node, list | tuple):
        for number, child in enumerate(node):
            yield from _refusals(child, f"{where}.{number}", base)
    elif isinstance(node, dict):
        expected: dict[str, type | None] = {}
        if "_target_" in node:
            found = _class(node)
            if isinstance(found, str):
                yield where, found
                return
            if found is not None and base is not None and not issubclass(found, base):
                yield where, f"names {node['_target_']}, which is no {base.__name__}"
                return
            expected = {} if found is None else _arguments(found)
        for key, child in node.items():
            place = f"{where}.{key}"
            if key in ("_target_", "_partial_"):
                continue
            if str(key).startswith("_"):
                yield place, "changes how classes are built"
            else:
                yield from _refusals(child, place, INNER.get(place, expected.get(key)))


def _class(node: Mapping[str, Any]) -> type | str | None:
    """Return the class of a node, or why it is refused; None where a name of ours means nothing any more.

    An old run may name a module that has moved since: what is not there cannot be built, the rest of the run is good.
    """
    target = str(node["_target_"])
    partial = node.get("_partial_") is True
    rooms = (*ROOMS, *NETWORKS, *trusted_prefixes(), *((OPTIMISERS,) if partial else ()))
    public = (
        "torch.nn.",
        "monai.networks.nets.",
        "monai.losses.",
    )  # where the classes of NETWORKS are imported from
    if not target.startswith((*rooms, *public)):
        return f"names {target}"
    try:
        found = check_target(target)
    except ConfigError as error:
        if error.__cause__ is not None:  # it cannot be imported
            return None
        return f"names {target}, which is no class of ours"
    if not f"{found.__module__}.{found.__qualname__}".startswith(rooms):
        return f"names {target}"
    return found


def _arguments(found: type) -> dict[str, type | None]:
    """Return the constructor's arguments with the class that each expects, None where any of ours may stand."""
    try:
        hints = typing.get_type_hints(found.__init__)  # type: ignore[misc]
    except (NameError, TypeError):  # names that are imported for type checkers only
        hints = {}
    return {name: _expected(hints.get(name)) for name in inspect.signature(found).parameters}


def _expected(hint: Any) -> type | None:
    """Return the one class of ours that an annotation names, None where it names none or several."""
    if (
        inspect.isclass(hint)
        and hint.__module__.startswith("medreg.")
        and not getattr(hint, "_is_protocol", False)
    ):
        return hint
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        found = [kind for kind in map(_expected, typing.get_args(hint)) if kind is not None]
        return found[0] if len(found) == 1 else None
    return None
