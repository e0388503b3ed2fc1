"""Launchers and sweepers that are not installed, or have no queue here, are told with what to do."""

from __future__ import annotations

import pytest

from medreg.config import plugins
from medreg.config.plugins import check_plugins
from medreg.errors import ConfigError, MissingExtra


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("hydra/launcher=joblib", "medreg\\[joblib\\]"),
        ("hydra/launcher=slurm", "medreg\\[slurm\\]"),
        ("hydra/launcher=rq", "hydra-rq-launcher"),
        ("hydra/sweeper=bayes", "medreg\\[search\\]"),
        ("hydra/sweeper=ax", "hydra-ax-sweeper"),
    ],
)
def test_what_is_not_installed_is_told_with_the_line_that_installs_it(option, line, monkeypatch):
    monkeypatch.setattr(plugins, "_installed", lambda module: False)
    with pytest.raises(MissingExtra, match=line):
        check_plugins([option])


def test_a_queue_needs_its_program(monkeypatch):
    monkeypatch.setattr(plugins, "_installed", lambda module: True)
    monkeypatch.setattr(plugins.shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match="no srun on this machine"):
        check_plugins(["hydra/launcher=slurm"])
    monkeypatch.setattr(plugins.shutil, "which", lambda name: f"/usr/bin/{name}")
    check_plugins(["hydra/launcher=slurm", "hydra/sweeper=grid", "model=gradirn"])


def test_an_option_of_nobody_is_refused():
    with pytest.raises(ConfigError, match=r"hydra/launcher=slrum: there is no such option.*joblib"):
        check_plugins(["hydra/launcher=slrum"])
