"""Which metrics make the rank score of a task, and what counts for values that are missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from medreg.errors import ConfigError
from medreg.io.json_model import checked
from medreg.studies.learn2reg.schema import OLD_NAMES

# Names that older files, and run folders of ours, have for what the rules call by its current name.
OLDER_NAMES = OLD_NAMES | {"SDlogJ": "LogJacDetStd"}
KINDS = {
    "dice": ("dsc", "dice"),
    "hd95": ("hd95", "hausdorff"),
    "tre": ("tre",),
    "sdlogj": ("logjac", "sdlogj", "sd_log_jacobian"),
    "ndv": ("ndv", "folding_percent"),
    "runtime": ("runtime", "time_s"),
}
HARD_SUFFIX = "30"
HARD_SHARE = 0.3  # of the items, the hardest before registration


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Rules:
    """How one task is ranked; numbers are those of `ranking_rules.yaml`, which says where they come from.

    Attributes:
        task: name.
        factors: metrics whose scores are multiplied; one that counts twice is there twice.
        hardest: "pooled": the hardest 30 % of all items; "case": of the items of each case;
            "pooled_easiest": the other end.
        dice_nan: value of a structure that could not be scored.
        hd95_nan: the same, voxels.
        hd95_inf: value of an infinite distance, voxels.
        tre_nan: value of a lost point, mm.
        sdlogj_unregistered: value of the zero field, None for its own.
        missing_runtime: seconds of methods without a runtime, None for the lowest score.
        source: where the rules come from.
        exponent: of the product of the factors, None for one over their number.
        without_runtime: factors where nobody has a runtime, None for all others.
        without_runtime_exponent: its exponent.
        sdlogj_unregistered_last_case: only the last case of the zero field gets the replacement.
    """

    task: str
    factors: tuple[str, ...]
    hardest: Literal["pooled", "case", "pooled_easiest"]
    dice_nan: float
    hd95_nan: float
    hd95_inf: float
    tre_nan: float
    sdlogj_unregistered: float | None
    missing_runtime: float | None
    source: str
    exponent: float | None = None
    without_runtime: tuple[str, ...] | None = None
    without_runtime_exponent: float | None = None
    sdlogj_unregistered_last_case: bool = False

    def no_runtime(self) -> Rules:
        """Return the rules of a ranking without runtimes."""
        others = tuple(name for name in self.factors if name != "runtime")
        return replace(
            self,
            factors=self.without_runtime or others,
            exponent=self.without_runtime_exponent if self.without_runtime else self.exponent,
        )


def read_rules(task: str, *, slips: bool = False, file: str | Path | None = None) -> Rules:
    """Return the rules of a task, those of "default" for a task without rules of its own.

    Args:
        task: name of the task.
        slips: also do what the organisers' notebooks seem to do by mistake.
        file: YAML file of the same form as `ranking_rules.yaml`, in place of it.

    Raises:
        ConfigError: unreadable, or an unknown or missing key.
    """
    where = str(file) if file is not None else "ranking_rules.yaml"
    tables = _load(file)
    if "default" not in tables and task not in tables:
        raise ConfigError(f"{where} has rules for {', '.join(tables)}, none for {task} and no default.")
    merged = {**tables.get("default", {}), **tables.get(task, {})}
    changes = merged.pop("slips", None) or {}
    merged |= changes if slips else {}
    return checked(Rules, merged | {"task": task}, f"{where}, {task}", error=ConfigError)


def base_of(factor: str) -> str:
    """Return the metric of a factor: DSC of DSC30."""
    return factor.removesuffix(HARD_SUFFIX)


def current_name(metric: str) -> str:
    """Return the current name of a metric of an older file."""
    return OLDER_NAMES.get(metric, metric)


def kind_of(metric: str) -> str:
    """Return dice, hd95, tre, sdlogj, ndv or runtime, by the name of a metric; "" for anything else."""
    name = metric.lower()
    return next((kind for kind, starts in KINDS.items() if name.startswith(starts)), "")


def _load(file: str | Path | None) -> Mapping[str, dict[str, Any]]:
    try:
        if file is None:
            text = (
                resources.files("medreg.studies.learn2reg").joinpath("ranking_rules.yaml").read_text("utf-8")
            )
        else:
            text = Path(file).read_text(encoding="utf-8")
        tables = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"Cannot read the ranking rules {file}: {error}") from error
    if not isinstance(tables, dict) or not all(isinstance(part, dict) for part in tables.values()):
        raise ConfigError(f"{file} is no table of tasks; take ranking_rules.yaml as an example.")
    return tables
