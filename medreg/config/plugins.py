"""Hydra's launchers and sweepers that need something installed: said before Hydra looks for them."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from medreg.config.suggest import parse
from medreg.errors import ConfigError, MissingExtra


@dataclass(frozen=True)
class Needs:
    """What an option of `hydra/launcher` or `hydra/sweeper` needs.

    Attributes:
        module: that must be there; empty for none.
        install: line that installs it.
        program: that must be in PATH; empty for none.
    """

    module: str = ""
    install: str = ""
    program: str = ""


_JOBLIB = Needs("hydra_plugins.hydra_joblib_launcher", "pip install 'medreg[joblib]'")
_RAY = Needs("hydra_plugins.hydra_ray_launcher", "pip install 'medreg[ray]'")
_SUBMITIT, _SUBMITIT_LINE = "hydra_plugins.hydra_submitit_launcher", "pip install 'medreg[slurm]'"
_SLURM = Needs(_SUBMITIT, _SUBMITIT_LINE, program="srun")
_SEARCH = Needs("optuna", "pip install 'medreg[search]'")
KNOWN = {
    "hydra/launcher": {
        "basic": Needs(),
        "joblib": _JOBLIB,
        "slurm": _SLURM,
        "submitit_slurm": _SLURM,
        "submitit_local": Needs(_SUBMITIT, _SUBMITIT_LINE),
        "ray": _RAY,
        "ray_aws": _RAY,
        "rq": Needs("hydra_plugins.hydra_rq_launcher", "pip install hydra-rq-launcher"),
    },
    "hydra/sweeper": {
        "basic": Needs(),
        "grid": Needs(),
        "listed": Needs(),
        "random": _SEARCH,
        "bayes": _SEARCH,
        "bayes_pruned": _SEARCH,
        "optuna": Needs("hydra_plugins.hydra_optuna_sweeper", "pip install hydra-optuna-sweeper"),
        "ax": Needs("hydra_plugins.hydra_ax_sweeper", "pip install hydra-ax-sweeper"),
        "nevergrad": Needs("hydra_plugins.hydra_nevergrad_sweeper", "pip install hydra-nevergrad-sweeper"),
    },
}


def check_plugins(overrides: Sequence[str]) -> None:
    """Refuse a launcher or sweeper that is not installed, or that cannot work on this machine.

    Args:
        overrides: of the command line.

    Raises:
        MissingExtra: with the line that installs it.
        ConfigError: an option of nobody's, or a queue that is not there.
    """
    for item in parse([word for word in overrides if word.lstrip("+").startswith(tuple(KNOWN))]):
        group, value = item.key_or_group, item.value()
        if group not in KNOWN or item.is_sweep_override():
            continue
        needs = KNOWN[group].get(str(value))
        if needs is None:
            if not _elsewhere(group, str(value)):
                raise ConfigError(
                    f"{group}={value}: there is no such option. Options: {', '.join(KNOWN[group])}; a plug-in of "
                    "Hydra's brings its own once it is installed."
                )
            continue
        if needs.module and not _installed(needs.module):
            raise MissingExtra(f"{group}={value} is not installed: {needs.install}")
        if needs.program and shutil.which(needs.program) is None:
            raise ConfigError(
                f"{group}={value} hands jobs to a queue, and there is no {needs.program} on this machine. Start the "
                "sweep where the queue is, or use hydra/launcher=joblib (several at a time here) or none."
            )


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _elsewhere(group: str, name: str) -> bool:
    """Say whether a user's folder or an installed plug-in of another name brings an option."""
    from hydra.core.config_store import ConfigStore
    from hydra.core.plugins import Plugins

    from medreg.config.paths import config_file

    if config_file(group, name).is_file():
        return True
    Plugins.instance()  # registers what is installed
    try:
        return f"{name}.yaml" in ConfigStore.instance().list(group)
    except OSError:
        return False
