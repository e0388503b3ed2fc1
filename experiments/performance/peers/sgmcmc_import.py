"""How the release of ir-sgmcmc is imported where VTK, TensorBoard and seaborn are not installed."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from experiments.performance.peers.checkout import stand_ins
from experiments.performance.peers.release import importable

SETTINGS = Path("configs") / "experiment3" / "config.json"
# Imported at the top of its modules for reading, writing and drawing, none of which happens here.
_ABSENT: dict[str, tuple[str, ...]] = {
    "SimpleITK": (),
    "vtk": ("vtkStructuredPointsReader",),
    "vtk.util": (),
    "vtk.util.numpy_support": ("vtk_to_numpy",),
    "tvtk": (),
    "tvtk.api": ("tvtk", "write_data"),
    "seaborn": (),
    "torch.utils.tensorboard": ("SummaryWriter",),
    "torch.utils.tensorboard.summary": ("hparams",),
}
_PACKAGES = (
    "base", "data_loader", "logger", "model", "optimizers", "parse_config", "trainer", "utils",
)  # fmt: skip


def load_release(folder: Path, shape: Sequence[int]) -> tuple[Any, ModuleType]:
    """Its configuration for images of a shape, and its module of the trainer.

    Args:
        folder: checkout.
        shape: of the images.
    """
    with importable(folder), stand_ins(_ABSENT, object), _alone():
        parser, trainer = importlib.import_module("parse_config"), importlib.import_module("trainer.trainer")
    settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    settings["data_loader"]["args"]["dims"] = list(shape)
    config = object.__new__(parser.ConfigParser)  # its constructor makes folders
    config._config = settings
    return config, trainer


@contextmanager
def _alone() -> Iterator[None]:
    """Keep its packages, whose names are anybody's, out of what others import."""
    before = {name: module for name, module in sys.modules.items() if name.split(".")[0] in _PACKAGES}
    for name in before:
        del sys.modules[name]
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] in _PACKAGES]:
            del sys.modules[name]
        sys.modules.update(before)
