"""Build a data module from its YAML alone, on a given folder."""

from __future__ import annotations

from hydra import compose, initialize_config_dir

from medreg.config.instantiate import build
from medreg.config.paths import config_dir
from medreg.config.resolvers import register


def data_config(name, root, *changes):
    """Compose the `data` node; `changes` are assignments below `data`, those with + of new options."""
    marks = ((change[: len(change) - len(change.lstrip("+"))], change.lstrip("+")) for change in changes)
    overrides = [
        "+paths=default",
        f"+data={name}",
        "+seed=1",
        *(f"{mark}data.{rest}" for mark, rest in marks),
    ]
    if root is not None:
        overrides.append(f"data.dataset.root={root}")
    register()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return compose(None, overrides).data


def data_module(name, root, *changes):
    """Build it."""
    return build(data_config(name, root, *changes))
