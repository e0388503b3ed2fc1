"""Lists of validation pairs from elsewhere than the descriptor: official evaluation configs, pairs_val.csv."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from medreg.data.datasets.learn2reg_config import MetricSpec, PairPaths
from medreg.errors import DataError
from medreg.io.json_model import checked, read_object


@dataclass(frozen=True)
class PairList:
    """Validation pairs, and the label codes that are evaluated.

    Attributes:
        pairs: (fixed, moving): image paths of an evaluation config, or case numbers of a CSV.
        codes: label codes of the evaluation config, sorted; empty for a CSV.
        by_case: whether the pairs are case numbers.
    """

    pairs: tuple[tuple[str, str], ...]
    codes: tuple[int, ...]
    by_case: bool


def read_pair_list(path: Path, *, option: str) -> PairList:
    """Read an evaluation config (.json) or `pairs_val.csv`.

    The header of the published CSV files is "fixed, moving" with a blank.

    Args:
        path: the file.
        option: name of the setting that gave it, for messages.

    Raises:
        DataError: the file is missing, is no evaluation config, or has no pairs.
    """
    if not path.is_file():
        raise DataError(f"{option} is {path}, which does not exist.")
    found = _from_config(path) if path.suffix.lower() == ".json" else _from_csv(path)
    if not found.pairs:
        raise DataError(
            f"{path} names no pairs; expected an evaluation config with eval_pairs, or a CSV with the columns "
            "fixed and moving."
        )
    return found


def _from_config(path: Path) -> PairList:
    content = read_object(path)  # of a config that was cut down to its pairs, too
    pairs = checked(tuple[PairPaths, ...], content.get("eval_pairs") or (), f"{path}: eval_pairs")
    metrics = checked(
        tuple[MetricSpec, ...], content.get("evaluation_methods") or (), f"{path}: evaluation_methods"
    )
    codes = {code for spec in metrics for code in spec.labels} - {0}
    return PairList(tuple((p.fixed, p.moving) for p in pairs), tuple(sorted(codes)), by_case=False)


def _from_csv(path: Path) -> PairList:
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    rows = csv.DictReader(lines, skipinitialspace=True)
    if not {"fixed", "moving"} <= {name.strip() for name in rows.fieldnames or ()}:
        return PairList((), (), by_case=True)
    stripped = [{str(key).strip(): str(value).strip() for key, value in row.items()} for row in rows]
    return PairList(tuple((row["fixed"], row["moving"]) for row in stripped), (), by_case=True)


def padded(case: str) -> str:
    """Case number with four digits, as in file names: "3" → "0003".

    Raises:
        DataError: it is no number.
    """
    try:
        return f"{int(float(case)):04d}"
    except ValueError as error:
        raise DataError(f"{case!r} in a list of validation pairs is no case number.") from error
