"""Every experiment names only options that the classes it configures take."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest
from omegaconf import OmegaConf

from medreg.config.instantiate import check_target
from medreg.config.paths import config_dir
from medreg.config.unchecked import compose_unchecked

EXPERIMENTS = sorted(file.stem for file in (config_dir() / "experiment").glob("*.yaml"))


def unknown(node: Any, place: str = "") -> Iterator[str]:
    """Yield options that a class in a configuration does not take."""
    if isinstance(node, dict):
        if "_target_" in node:
            taken = inspect.signature(check_target(node["_target_"])).parameters
            if not any(one.kind is inspect.Parameter.VAR_KEYWORD for one in taken.values()):
                yield from (f"{place}.{key}" for key in node if not key.startswith("_") and key not in taken)
        for key, value in node.items():
            yield from unknown(value, f"{place}.{key}")
    elif isinstance(node, list):
        for value in node:
            yield from unknown(value, place)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_options_of_an_experiment_exist(experiment):
    cfg = compose_unchecked([f"experiment={experiment}"])
    plain = OmegaConf.to_container(cfg, resolve=False)
    assert (
        list(unknown({key: plain[key] for key in ("data", "task", "model", "optimiser") if key in plain}))
        == []
    )
