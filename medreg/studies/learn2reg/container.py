"""The container recipe of a run: Dockerfile, pinned packages, train.sh and test.sh after the organisers' examples."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path

import medreg
from medreg.errors import DataError

TEMPLATES = ("Dockerfile", "test.sh", "train.sh", "README.md")
SOURCE = ("pyproject.toml", "README.md", "LICENSE", "medreg", "configs", "experiments/learn2reg/expected.csv")
LOCAL = ("data.dataset.root=", "paths.", "logger=", "hydra.", "mode=", "resume=", "ckpt=", "init=")


@dataclass(frozen=True)
class Recipe:
    """What the recipe is for.

    Attributes:
        task: name of the task.
        run: name of the run.
        overrides: of the run's training.
    """

    task: str
    run: str
    overrides: Sequence[str]

    def fields(self) -> dict[str, str]:
        """Return what is put into the templates."""
        kept = [word for word in self.overrides if not word.lstrip("+~").startswith(LOCAL)]
        return {
            "TASK": self.task,
            "RUN": self.run,
            "NAME": f"medreg-{self.task.lower()}",
            "VERSION": medreg.__version__,
            "PYTHON": f"{sys.version_info.major}.{sys.version_info.minor}",
            "TORCH": f"torch=={_plain(metadata.version('torch'))}",
            "OVERRIDES": " ".join(f"'{word}'" for word in kept),
        }


def write_container(folder: Path, recipe: Recipe) -> Path:
    """Write the recipe without the model; return the folder in which the model belongs.

    Raises:
        DataError: the folder holds something already.
    """
    if folder.exists() and any(folder.iterdir()):
        raise DataError(f"{folder} is not empty and nothing is overwritten; choose another folder.")
    folder.mkdir(parents=True, exist_ok=True)
    room = resources.files("medreg.studies.learn2reg").joinpath("container_files")
    values = recipe.fields()
    for name in TEMPLATES:
        text = room.joinpath(name).read_text(encoding="utf-8")
        (folder / name).write_text(
            re.sub(r"@([A-Z]+)@", lambda m: values[m.group(1)], text), encoding="utf-8"
        )
    for name in ("test.sh", "train.sh"):
        (folder / name).chmod(0o755)
    (folder / "requirements.txt").write_text("\n".join(_requirements()) + "\n", encoding="utf-8")
    (folder / "constraints.txt").write_text("\n".join(_constraints()) + "\n", encoding="utf-8")
    _copy_source(folder / "medreg_source")
    return folder / "models" / "run"


def _requirements() -> list[str]:
    """Direct dependencies but torch, which the Dockerfile installs first."""
    listed = metadata.requires("medreg") or []
    plain = [line.split(";")[0].strip() for line in listed if "extra ==" not in line]
    return sorted(line for line in plain if re.match(r"[A-Za-z0-9_.-]+", line)[0].lower() != "torch")  # type: ignore[index]


def _constraints() -> list[str]:
    """Versions of everything installed here, without local builds (+cpu) and without medreg itself."""
    found = {
        str(each.metadata["Name"]).lower(): _plain(each.version)
        for each in metadata.distributions()
        if each.metadata["Name"]
    }
    found.pop("medreg", None)
    return [f"{name}=={version}" for name, version in sorted(found.items())]


def _plain(version: str) -> str:
    return version.split("+")[0]


def _copy_source(target: Path) -> None:
    """Copy the checkout, or the installed package with what a build of it needs."""
    package = Path(medreg.__file__).resolve().parent
    root = package.parent
    leave = shutil.ignore_patterns("__pycache__", "*.pyc", "_configs", "_experiments")
    if not (root / "pyproject.toml").is_file():
        raise DataError(
            "The container recipe copies the source of medreg, which an installed wheel does not hold; run this "
            "command from a checkout (pip install --editable .)."
        )
    for name in SOURCE:
        source, copy = root / name, target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy, ignore=leave)
        else:
            shutil.copyfile(source, copy)
