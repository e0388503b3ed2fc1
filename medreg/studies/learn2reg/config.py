"""Evaluation configs of Learn2Reg: which pairs, which metrics, which shape (`<Task>_VAL_evaluation_config.json`)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medreg.errors import ConfigError, DataError

METRICS = ("sdlogj", "dice", "hd95", "tre", "ndv")
LABEL_METRICS = ("dice", "hd95")
NAME = re.compile(r"_(?P<case>\d{4})_(?P<modality>\d{4})\.nii\.gz$")
CREATOR_VERSION = 0.2  # what the official config creator writes
PAIR_KEYS = {
    "val": ("registration_val", "validation"),  # LUMIR has the second
    "test": ("registration_test", "test_paired_images"),
    "train": ("training_paired_images",),
}


@dataclass(frozen=True)
class PairPaths:
    """A pair to evaluate, by the paths of its images inside the task folder, as the config spells them."""

    fixed: str
    moving: str

    @property
    def fixed_case(self) -> str:
        """Four-digit case of the fixed image."""
        return _ids(self.fixed)[0]

    @property
    def fixed_modality(self) -> str:
        """Four-digit modality or time point of the fixed image."""
        return _ids(self.fixed)[1]

    @property
    def moving_case(self) -> str:
        """Four-digit case of the moving image."""
        return _ids(self.moving)[0]

    @property
    def moving_modality(self) -> str:
        """Four-digit modality or time point of the moving image."""
        return _ids(self.moving)[1]

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
        labels: ids for dice and hd95, in the order of the config.
        dest: stem of the folder of points for tre: landmarks or keypoints.
    """

    name: str
    metric: str
    labels: tuple[int, ...] = ()
    dest: str = ""


@dataclass(frozen=True)
class EvaluationConfig:
    """What an evaluation is to do.

    Attributes:
        name: task.
        shape: grid (X, Y, Z) of every field.
        pairs: the pairs, in order.
        metrics: the metrics, in order.
        masked: the standard deviation of the log Jacobian is over the fixed mask.
        version: of the config.
    """

    name: str
    shape: tuple[int, int, int]
    pairs: tuple[PairPaths, ...]
    metrics: tuple[MetricSpec, ...]
    masked: bool = False
    version: float = CREATOR_VERSION

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
    """Read an official evaluation config, of Learn2Reg (`task_name`) or of LUMIR (`name`).

    Raises:
        ConfigError: not a config: a key is missing, a metric is unknown, or two entries share a name.
        DataError: missing file or invalid JSON.
    """
    content = read_json(path)
    try:
        shape = [int(size) for size in content["expected_shape"]]
        if len(shape) != 4 or shape[-1] != 3:
            raise ConfigError(f"{path}: expected_shape is {shape}; it must be [X, Y, Z, 3].")
        return EvaluationConfig(
            name=str(content.get("task_name", content.get("name", ""))),
            shape=(shape[0], shape[1], shape[2]),
            pairs=tuple(_pair(entry, path) for entry in content["eval_pairs"]),
            metrics=checked_metrics([_metric(entry) for entry in content["evaluation_methods"]], path),
            masked=bool(content.get("masked_evaluation", False)),
            version=float(content.get("eval_config_version", CREATOR_VERSION)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path} is not an evaluation config of Learn2Reg: {error!r}.") from error


def config_from_descriptor(
    descriptor: Mapping[str, Any],
    *,
    split: str = "val",
    labels: Sequence[int] | None = None,
    points: Sequence[str] | None = None,
    masked: bool | None = None,
    shape: Sequence[int] | None = None,
) -> EvaluationConfig:
    """Make the evaluation config of a task from its descriptor, as the organisers make theirs.

    The organisers choose metrics on their command line; here they follow from what the task has: the log
    Jacobian always, Dice and HD95 where it has labels, the error of landmarks and of key-points where it has
    those.

    Args:
        descriptor: content of `<Task>_dataset.json`.
        split: "val", "test", or "train" (the paired training images).
        labels: ids to score; default: those that the descriptor names, without the background.
        points: folders of points, of landmarks and keypoints; default: those of the training list.
        masked: use the fixed mask; default: where the pairs are of one patient and fixed images have masks.
        shape: grid of the fields, for descriptors that name none.

    Raises:
        ConfigError: no pairs for that split, no shape, or an unknown split.
    """
    name = str(descriptor.get("name", "the descriptor"))
    pairs = listed_pairs(descriptor, split=split)
    sizes = [int(size) for size in shape or dict(descriptor.get("tensorImageShape") or {}).get("0", ())]
    if len(sizes) != 3:
        raise ConfigError(f"{name}: tensorImageShape names no 3-D shape for modality 0.")
    return EvaluationConfig(
        name=name,
        shape=(sizes[0], sizes[1], sizes[2]),
        pairs=pairs,
        metrics=_metrics_of(
            named_labels(descriptor) if labels is None else tuple(labels),
            listed_points(descriptor) if points is None else tuple(points),
        ),
        masked=_is_masked(descriptor) if masked is None else masked,
    )


def listed_pairs(descriptor: Mapping[str, Any], *, split: str = "val") -> tuple[PairPaths, ...]:
    """Pairs that a descriptor lists for a split, also where they are keyed by modality numbers.

    Raises:
        ConfigError: an unknown split, no pairs, or names of another form.
    """
    if split not in PAIR_KEYS:
        raise ConfigError(f"split={split!r} is not one of {', '.join(PAIR_KEYS)}.")
    name = str(descriptor.get("name", "the descriptor"))
    entries = next((descriptor[key] for key in PAIR_KEYS[split] if descriptor.get(key)), None)
    if not entries:
        raise ConfigError(
            f"{name} lists no pairs under {' or '.join(PAIR_KEYS[split])}; choose another split."
        )
    fixed, moving = _directions(descriptor)
    return tuple(
        _pair({"fixed": e.get("fixed", e.get(fixed)), "moving": e.get("moving", e.get(moving))}, name)
        for e in entries
    )


def read_json(path: str | Path) -> dict[str, Any]:
    """Read a JSON object; `NaN` and `Infinity`, which official files hold, are understood.

    Raises:
        DataError: missing file, invalid JSON, or not an object.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}. Check the path.") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} holds no JSON object.")
    return content


def named_labels(descriptor: Mapping[str, Any]) -> tuple[int, ...]:
    """Ids that the descriptor names for its first modality, ascending, without the background."""
    named = descriptor.get("labels") or {}
    first = next((part for part in named.values() if isinstance(part, Mapping)), named)
    return tuple(sorted(int(key) for key in first if str(key).isdigit() and int(key) != 0))


def listed_points(descriptor: Mapping[str, Any]) -> tuple[str, ...]:
    """Kinds of points that the training list names: landmarks, keypoints."""
    training = descriptor.get("training") or []
    if isinstance(training, Mapping):
        training = [entry for part in training.values() for entry in part]
    keys = {re.sub(r"\d+$", "", key) for entry in training if isinstance(entry, Mapping) for key in entry}
    return tuple(kind for kind in ("landmarks", "keypoints") if kind in keys)


def checked_metrics(metrics: Sequence[MetricSpec], path: str | Path) -> tuple[MetricSpec, ...]:
    """Return the metrics after checking that names are unique and every metric is known and complete."""
    names = [spec.name for spec in metrics]
    if len(set(names)) != len(names):
        raise ConfigError(f"{path}: names of evaluation methods must be unique, found {', '.join(names)}.")
    for spec in metrics:
        if spec.metric not in METRICS:
            raise ConfigError(f"{path}: metric {spec.metric!r} is unknown; known are {', '.join(METRICS)}.")
        if spec.metric in LABEL_METRICS and not spec.labels:
            raise ConfigError(f"{path}: {spec.name} ({spec.metric}) needs labels.")
        if spec.metric == "tre" and not spec.dest:
            raise ConfigError(f"{path}: {spec.name} (tre) needs dest, the folder of its points.")
    return tuple(metrics)


def _metric(entry: Mapping[str, Any]) -> MetricSpec:
    """An entry of `evaluation_methods`; ids given on the organisers' command line are strings."""
    return MetricSpec(
        name=str(entry["name"]),
        metric=str(entry["metric"]),
        labels=tuple(int(label) for label in entry.get("labels", ())),
        dest=str(entry.get("dest", "")),
    )


def _metrics_of(labels: tuple[int, ...], points: tuple[str, ...]) -> tuple[MetricSpec, ...]:
    specs = [MetricSpec("LogJacDetStd", "sdlogj")]
    if labels:
        specs += [MetricSpec("DSC", "dice", labels), MetricSpec("HD95", "hd95", labels)]
    specs += [MetricSpec(f"TRE_{POINT_NAMES[kind]}", "tre", dest=kind) for kind in points]
    return tuple(specs)


POINT_NAMES = {"landmarks": "lm", "keypoints": "kp"}


def _directions(descriptor: Mapping[str, Any]) -> tuple[str, str]:
    """Keys of the fixed and of the moving image where a pair is keyed by modality numbers."""
    direction = descriptor.get("registration_direction") or {}
    return str(direction.get("fixed", 0)), str(direction.get("moving", 1))


def _is_masked(descriptor: Mapping[str, Any]) -> bool:
    """Lung and abdominal tasks within a patient are evaluated inside the mask; brains of OASIS are not."""
    provided = (descriptor.get("provided_data") or {}).get(_directions(descriptor)[0], [])
    return descriptor.get("pairings") in ("paired", "hybrid") and "mask" in provided


def _pair(entry: Mapping[str, Any], path: str | Path) -> PairPaths:
    pair = PairPaths(str(entry["fixed"]), str(entry["moving"]))
    for name in (pair.fixed, pair.moving):
        if NAME.search(name) is None:
            raise ConfigError(
                f"{path}: {name!r} is not named <Task>_<4-digit case>_<4-digit modality>.nii.gz."
            )
    return pair


def _ids(name: str) -> tuple[str, str]:
    """Case and modality of an image path; official code cuts them out at fixed places from its end."""
    return name[-16:-12], name[-11:-7]
