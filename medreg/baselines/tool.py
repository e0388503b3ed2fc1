"""A tool for registration: the program that runs it, where, with which settings, and how to install it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from medreg.errors import ConfigError, MissingExtra

SCRIPTS = Path(__file__).resolve().parent / "scripts"
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)


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


@dataclass(frozen=True)
class Tool:
    """One registration method of another program.

    Attributes:
        title: name in tables.
        source: where the settings come from.
        distribution: the installed package whose version is recorded.
        script: file name of the worker in `medreg/baselines/scripts`, or the path of another.
        settings: what the worker's `register` takes; `threads` is added.
        environment: where it runs.
        timeout_s: most seconds for one case.
        threads: CPU threads.
        warm_up: register a small piece before the first case, outside the clock.
        masks: the worker hands masks on to the tool.
    """

    title: str
    source: str
    distribution: str
    script: str
    settings: Mapping[str, Any]
    environment: Environment
    timeout_s: float
    threads: int
    warm_up: bool = False
    masks: bool = False
    prepares: ClassVar[bool] = False  # images come as the benchmark has prepared them

    def command(self) -> list[str]:
        """Return the words that start the worker.

        Raises:
            MissingExtra: the environment is not there.
            ConfigError: the worker is not there.
        """
        file = SCRIPTS / self.script if not Path(self.script).is_absolute() else Path(self.script)
        if not file.is_file():
            raise ConfigError(f"{self.title}: there is no worker {file}; `script` names a file in {SCRIPTS}.")
        return [str(self.environment.python(self.title)), str(file)]

    def version(self) -> str:
        """Return the version of the tool where it runs.

        Raises:
            MissingExtra: the environment or the package is not there.
        """
        python = self.environment.python(self.title)
        asking = f"import importlib.metadata as m; print(m.version({self.distribution!r}))"
        done = subprocess.run([python, "-c", asking], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise self.missing(f"{python} has no package {self.distribution}")
        return done.stdout.strip()

    def variables(self) -> dict[str, str]:
        """Return environment variables of the worker: the number of threads of every library."""
        return dict.fromkeys(THREAD_VARIABLES, str(self.threads))

    def request(self) -> dict[str, Any]:
        """Return the settings as the worker gets them."""
        return {**self.settings, "threads": self.threads}

    def missing(self, reason: str) -> MissingExtra:
        """Return the error for a worker that could not import its tool."""
        return MissingExtra(f"{self.title} is not installed where it should run ({reason}). {self.recipe()}")

    def recipe(self) -> str:
        """Return how to install the tool."""
        return self.environment.recipe()
