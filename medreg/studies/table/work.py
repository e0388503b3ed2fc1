"""Kinds of work that fill a row, behind one base; a row's `work: {_target_: …}` may name one of the user's own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from omegaconf import DictConfig, OmegaConf

from medreg.config.compose import compose
from medreg.config.identity import run_name
from medreg.config.suggest import parse
from medreg.config.typed import check_types
from medreg.errors import ConfigError
from medreg.studies.table.run_folder import is_finished, read_outcome
from medreg.study.unit import Outcome, Unit


@dataclass(frozen=True)
class Request:
    """One unit of work: a row with one seed.

    Attributes:
        row: name of the row.
        seed: of everything random in it.
        method: which method of the results is meant; the last if empty.
        overrides: all options, those that the kind of work adds among them.
        folder: where the work leaves its results.
        code: module → digest, of today.
        data: the composed data node, None for work without one.
        source: run folder that is tested; None where the work needs no other row.
        source_began: when the training of `source` began; another training makes the test old.
    """

    row: str
    seed: int
    method: str
    overrides: tuple[str, ...]
    folder: Path
    code: Mapping[str, str] = field(default_factory=dict)
    data: Any = None
    source: Path | None = None
    source_began: str | None = None

    @property
    def unit(self) -> Unit:
        """Return the unit that the store knows it by."""
        unit = Unit({"row": self.row, "seed": self.seed})
        return Unit(unit.key, determined_by(self.folder, self.method, self.code, self.source_began))


def determined_by(folder: Path, method: str, code: Mapping[str, str], source_began: str | None) -> str:
    """Return the digest of what determines rows: options (the name of a run folder is made of them), code, source."""
    return Unit({"options": folder.name, "method": method, "code": dict(code), "source": source_began}).id


class Work(ABC):
    """A kind of work.

    Attributes:
        launched: whether Hydra's launcher runs it as a job of `train.py`; otherwise `collect` does all of it.
        own_options: whether it tests the run of another row (`of`) with options that are not those of `train.py`: it
            gets those of its row and of the scale's row only.
    """

    launched: ClassVar[bool] = False
    own_options: ClassVar[bool] = False

    @abstractmethod
    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """Return the configuration, or raise a `ConfigError` that names what is misspelt."""

    @abstractmethod
    def settings(self, seed: int, source: Path | None) -> dict[str, Any]:
        """Return top-level options that follow from the seed and the run to be tested."""

    @abstractmethod
    def folder(self, cfg: DictConfig, own: Path) -> Path:
        """Return where the results of a composed configuration lie; `own` is a folder for this unit alone."""

    def finished(self, folder: Path) -> bool:
        """Say whether a launched job has nothing left to do."""
        return True

    @abstractmethod
    def collect(self, request: Request) -> Outcome:
        """Return the rows (case, structure, metric, value, unit) and the facts of the work."""


class TrainingWork(Work):
    """Train and test, or only test a method that has nothing to train."""

    launched = True

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """Compose as `train.py` does; the seeds are those of the table."""
        if any(item.key_or_group == "seed" for item in parse(overrides)):
            raise ConfigError("seed=…: seeds are named by `seeds:` of the table, of a scale or of a row.")
        cfg = compose(overrides, with_hydra=True)
        check_types(OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"]))
        return cfg

    def settings(self, seed: int, source: Path | None) -> dict[str, Any]:
        """The seed."""
        return {"seed": seed}

    def folder(self, cfg: DictConfig, own: Path) -> Path:
        """The run folder."""
        return Path(str(OmegaConf.select(cfg, "paths.outputs"))) / run_name(cfg)

    def finished(self, folder: Path) -> bool:
        """Whether run.json says so."""
        return is_finished(folder)

    def collect(self, request: Request) -> Outcome:
        """Read the run folder."""
        found = read_outcome(request.folder, request.method)
        code = found.cost.get("code") or {}
        digest = determined_by(request.folder, request.method, code, request.source_began)
        return Outcome(request.unit.key, digest, found.rows, found.state, found.error, found.cost)


class EvaluationWork(TrainingWork):
    """Test the trained run of another row with other options: other data, refinement, another checkpoint."""

    def settings(self, seed: int, source: Path | None) -> dict[str, Any]:
        """The seed, and which run is tested."""
        return {"seed": seed, "mode": "test", "ckpt": str(source)}

    def collect(self, request: Request) -> Outcome:
        """Read the run folder; what training took is that of the run that was tested."""
        found = super().collect(request)
        assert request.source is not None
        trained = read_outcome(request.source).cost
        spent = {key: trained.get(key) for key in ("cpu_seconds", "steps", "epochs")}
        return replace(found, cost={**found.cost, **spent})


def as_override(key: str, value: Any) -> str:
    """Write a setting as an option; text is quoted, because a path may hold blanks and equal signs."""
    if isinstance(value, list):
        return f"{key}=[{','.join(as_override('', each)[1:] for each in value)}]"
    return f"{key}='{value}'" if isinstance(value, str) and not value.isidentifier() else f"{key}={value}"
