"""The similarity measures of a capture range, each with the affine registration that it drives."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from medreg.config.compose import compose
from medreg.config.instantiate import build
from medreg.errors import ConfigError
from medreg.models.affine import AffineRegistration
from medreg.runs.trained import TrainedRun


@dataclass(frozen=True)
class Measure:
    """A measure under its name.

    Attributes:
        name: in rows and file names.
        title: in tables and figures.
        model: resolved configuration of an affine registration.
        levels: shrink, sigma, iterations and learning_rate, the last in multiples of the rate.
        first: name and title under which what the first of two stages found has rows of its own, or None.
        digest: of everything that decides its results, weights included.
    """

    name: str
    title: str
    model: Mapping[str, Any]
    levels: Sequence[Mapping[str, Any]]
    digest: str
    first: tuple[str, str] | None

    @property
    def labels(self) -> tuple[tuple[str, str], ...]:
        """Name and title of the rows of every stage of the registration."""
        own = (self.name, self.title)
        return (own,) if self.first is None else (self.first, own)

    def registration(self, rate: float) -> AffineRegistration:
        """Build the registration with a learning rate.

        Raises:
            ConfigError: the measure's overrides compose another kind of model.
        """
        levels = [{**level, "learning_rate": rate * level["learning_rate"]} for level in self.levels]
        model = build({**self.model, "levels": levels})
        if not isinstance(model, AffineRegistration):
            raise ConfigError(
                f"measures.{self.name}.overrides compose a {type(model).__name__}; "
                "start them with model=affine or model=affine_refined."
            )
        return model.eval()


def measures_of(cfg: DictConfig, *, spacing_mm: Sequence[float]) -> list[Measure]:
    """Compose the measures of a configuration.

    Args:
        cfg: configuration of `medreg capture-range`.
        spacing_mm: of the images, so that a rotation is one in mm.

    Raises:
        ConfigError: no measure, or a learned one without ckpt.
        CheckpointError: a checkpoint that is not there.
    """
    if not cfg.measures:
        raise ConfigError("No measure was chosen: measure=[nmi,ncc].")
    return [_measure(str(name), cfg, spacing_mm) for name in cfg.measures]


def _measure(name: str, cfg: DictConfig, spacing_mm: Sequence[float]) -> Measure:
    node = cfg.measures[name]
    overrides = [str(text) for text in node.overrides]
    weights = _weights(name, cfg) if node.learned else ""
    if node.learned:
        overrides.append(f"similarity.ckpt={json.dumps(str(cfg.ckpt))}")
    spacing = [round(float(step), 6) for step in spacing_mm]
    composed = compose(["mode=test", *overrides, f"transformation.spacing_mm={spacing}"])
    model = OmegaConf.to_container(composed.model, resolve=True)
    levels = OmegaConf.to_container(node.levels, resolve=True)
    assert isinstance(model, dict)
    assert isinstance(levels, list)
    label = f"_{cfg.label}" if node.learned and cfg.label else ""
    end = f" {cfg.label}" if label else ""
    first = node.get("first")
    decisive = [_without_path(model), levels, weights, list(cfg.pairs), int(cfg.seed)]
    digest = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:12]
    return Measure(
        name=f"{name}{label}",
        title=f"{node.title}{end}",
        model={str(key): value for key, value in model.items()},
        levels=levels,
        digest=digest,
        first=None if first is None else (f"{first.name}{label}", f"{first.title}{end}"),
    )


def _weights(name: str, cfg: DictConfig) -> str:
    """Digest of the checkpoint of a learned measure."""
    if cfg.ckpt is None:
        raise ConfigError(
            f"measure={name} is learned and needs ckpt=RUN, the folder of a run of model=mad "
            "(train one with `python train.py model=mad data=brain_phantom`)."
        )
    return TrainedRun.open(str(cfg.ckpt)).digest[:16]


def _without_path(model: Mapping[Any, Any]) -> dict[str, Any]:
    similarity = {key: value for key, value in model["similarity"].items() if key != "ckpt"}
    return {**{str(key): value for key, value in model.items()}, "similarity": similarity}
