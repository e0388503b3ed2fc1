"""Evaluation configs of Learn2Reg: which pairs, which metrics, which shape (`<Task>_VAL_evaluation_config.json`)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AliasChoices, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from medreg.errors import ConfigError
from medreg.io.json_model import checked, read_object

LABEL_METRICS = ("dice", "hd95")
NAME = re.compile(r"_(?P<case>\d{4})_(?P<modality>\d{4})\.nii\.gz$")
CREATOR_VERSION = 0.2  # what the official config creator writes


def _image(name: str) -> str:
    if NAME.search(name) is None:
        raise ValueError(f"{name!r} is not named <Task>_<4-digit case>_<4-digit modality>.nii.gz")
    return name


def _grid(shape: Any) -> Any:
    """Return (X, Y, Z) of the [X, Y, Z, 3] of a config; a grid is taken as it is."""
    if isinstance(shape, list) and (len(shape) != 4 or shape[-1] != 3):
        raise ValueError(f"it is {shape}; it must be [X, Y, Z, 3]")
    return tuple(shape[:3])


@dataclass(frozen=True)
class PairPaths:
    """A pair to evaluate, by the paths of its images inside the task folder, as the config spells them."""

    fixed: Annotated[str, AfterValidator(_image)]
    moving: Annotated[str, AfterValidator(_image)]

    # Case and modality are cut out at fixed places from the end, as official code does.

    @property
    def fixed_case(self) -> str:
        """Four-digit case of the fixed image."""
        return self.fixed[-16:-12]

    @property
    def fixed_modality(self) -> str:
        """Four-digit modality or time point of the fixed image."""
        return self.fixed[-11:-7]

    @property
    def moving_case(self) -> str:
        """Four-digit case of the moving image."""
        return self.moving[-16:-12]

    @property
    def moving_modality(self) -> str:
        """Four-digit modality or time point of the moving image."""
        return self.moving[-11:-7]

    @property
    def case(self) -> str:
        """Key of the pair in official metric files: `FFFF_ffff<--MMMM_mmmm`."""
        return f"{self.fixed_case}_{self.fixed_modality}<--{self.moving_case}_{self.moving_modality}"

    @property
    def stem(self) -> str:
        """The same for file names: `FFFF_ffff_MMMM_mmmm`."""
        return self.case.replace("<--", "_")


@dataclass(frozen=True)
class MetricSpec:
    """One entry of `evaluation_methods`.

    Attributes:
        name: key in the metric file, such as DSC.
        metric: sdlogj, dice, hd95, tre, or ndv (LUMIR).
        labels: ids for dice and hd95, in the order of the config; text in configs that were made on a command line.
        dest: stem of the folder of points for tre: landmarks or keypoints.
    """

    name: str
    metric: Literal["sdlogj", "dice", "hd95", "tre", "ndv"]
    labels: tuple[int, ...] = ()
    dest: str = ""

    @model_validator(mode="after")
    def _complete(self) -> MetricSpec:
        if self.metric in LABEL_METRICS and not self.labels:
            raise ValueError(f"{self.name} ({self.metric}) needs labels")
        if self.metric == "tre" and not self.dest:
            raise ValueError(f"{self.name} (tre) needs dest, the folder of its points")
        return self


@dataclass(frozen=True, config=ConfigDict(populate_by_name=True))
class EvaluationConfig:
    """What an evaluation is to do: an official config of Learn2Reg (`task_name`) or of LUMIR (`name`).

    Attributes:
        name: task.
        shape: grid (X, Y, Z) of every field.
        pairs: the pairs, in order.
        metrics: the metrics, in order.
        masked: the standard deviation of the log Jacobian is over the fixed mask.
        version: of the config.
    """

    name: str = Field(validation_alias=AliasChoices("task_name", "name"))
    shape: Annotated[tuple[int, int, int], BeforeValidator(_grid)] = Field(validation_alias="expected_shape")
    pairs: tuple[PairPaths, ...] = Field(validation_alias="eval_pairs")
    metrics: tuple[MetricSpec, ...] = Field(validation_alias="evaluation_methods")
    masked: bool = Field(default=False, validation_alias="masked_evaluation")
    version: float = Field(default=CREATOR_VERSION, validation_alias="eval_config_version")

    @model_validator(mode="after")
    def _distinct(self) -> EvaluationConfig:
        names = [spec.name for spec in self.metrics]
        if len(set(names)) != len(names):
            raise ValueError(f"names of evaluation methods must be unique, found {', '.join(names)}")
        return self

    def to_json(self) -> dict[str, Any]:
        """Return the content of the official config file."""
        methods: list[dict[str, Any]] = []
        for spec in self.metrics:
            methods.append({"name": spec.name, "metric": spec.metric})
            if spec.metric in LABEL_METRICS:
                methods[-1]["labels"] = list(spec.labels)
            if spec.dest:
                methods[-1]["dest"] = spec.dest
        return {
            "task_name": self.name,
            "evaluation_methods": methods,
            "expected_shape": [*self.shape, 3],
            "eval_pairs": [{"fixed": pair.fixed, "moving": pair.moving} for pair in self.pairs],
            "eval_config_version": self.version,
            "masked_evaluation": self.masked,
        }


def read_config(path: str | Path) -> EvaluationConfig:
    """Read an official evaluation config.

    Raises:
        ConfigError: not a config: a key is missing, a metric is unknown, or two entries share a name.
        DataError: missing file or invalid JSON.
    """
    return checked(EvaluationConfig, {"name": ""} | read_object(path), path, error=ConfigError)
