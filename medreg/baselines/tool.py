"""A tool for registration: the program that runs it, where, with which settings, and how to install it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medreg.baselines.method import Method
from medreg.errors import ConfigError, MissingExtra

SCRIPTS = Path(__file__).resolve().parent / "scripts"


@dataclass(frozen=True)
class Environment:
    """The Python that a tool runs in.

    Attributes:
        variable: environment variable that names its interpreter, such as MEDREG_ENV_ANTS; without it the
            interpreter of medreg itself is taken if `shared`.
        shared: the tool can be installed beside medreg.
        install: commands that make the environment, one a line.
    """

    variable: str
    shared: bool
    install: Sequence[str]

    def python(self, title: str) -> Path:
        """Return the interpreter.

        Raises:
            MissingExtra: none is named and the tool needs its own, or the one that is named is not there; with
                the commands that make it.
        """
        named = os.environ.get(self.variable, "")
        if not named and self.shared:
            return Path(sys.executable)
        # A folder stands for the interpreter inside it; links are kept, for they tell Python its environment.
        path = Path(named).expanduser()
        inside = [path / "bin" / "python", path / "Scripts" / "python.exe"] if path.is_dir() else [path]
        found = next((str(file) for file in inside if file.is_file()), shutil.which(named) if named else None)
        if found is None:
            state = f"{self.variable}={named} is no Python" if named else f"{self.variable} is not set"
            raise MissingExtra(f"{title} runs in an environment of its own and {state}. {self.recipe()}")
        return Path(found).absolute()

    def recipe(self) -> str:
        """Return the commands that make the environment, in one paragraph."""
        return "Make it with:\n" + "\n".join(f"    {line}" for line in self.install)


@dataclass(frozen=True, kw_only=True)
class Tool(Method):
    """One registration method of another program; it gets images as the benchmark has prepared them.

    Attributes:
        distribution: the installed package whose version is recorded.
        script: file name of the worker in `medreg/baselines/scripts`, or the path of another.
        settings: what the worker's `register` takes; `threads` is added.
        environment: where it runs.
    """

    distribution: str
    script: str
    settings: Mapping[str, Any]
    environment: Environment

    def command(self) -> list[str]:
        """Return the interpreter of the environment and the script."""
        file = SCRIPTS / self.script if not Path(self.script).is_absolute() else Path(self.script)
        if not file.is_file():
            raise ConfigError(f"{self.title}: there is no worker {file}; `script` names a file in {SCRIPTS}.")
        return [str(self.environment.python(self.title)), str(file)]

    def version(self) -> str:
        """Return the version of the distribution where it runs."""
        python = self.environment.python(self.title)
        asking = f"import importlib.metadata as m; print(m.version({self.distribution!r}))"
        done = subprocess.run([python, "-c", asking], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise self.missing(f"{python} has no package {self.distribution}")
        return done.stdout.strip()

    def request(self) -> dict[str, Any]:
        """Return the settings as the worker gets them."""
        return {**self.settings, "threads": self.threads}

    def recipe(self) -> str:
        """Return how to install the tool."""
        return self.environment.recipe()
