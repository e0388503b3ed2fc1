"""Small run folders as the callbacks write them."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from medreg.reporting.html import write_report

PAIR_COLUMNS = (
    "run", "model", "data", "split", "case", "fixed", "moving", "method", "structure", "metric", "value", "unit",
)  # fmt: skip


def result_rows(values, *, run="run", method="net", structure="mean", metric="dice", unit="1", split="test"):
    """Rows of results.csv, one a case named c0, c1, …"""
    return [
        (run, "net", "phantom", split, f"c{i}", f"f{i}", f"m{i}", method, structure, metric, value, unit)
        for i, value in enumerate(values)
    ]


def frame(*groups):
    """A results table from lists of rows."""
    return pd.DataFrame([row for rows in groups for row in rows], columns=list(PAIR_COLUMNS))


def small_case(shape=(24, 20), seed=0):
    """Arrays of one case: a bright disc with a ring around it, shifted by two voxels along axis 0."""
    generator = np.random.default_rng(seed)
    centre = np.array(shape) / 2
    distance = np.sqrt(sum((g - c) ** 2 for g, c in zip(np.indices(shape), centre, strict=True)))
    label = np.where(distance < 4, 1, np.where(distance < 7, 2, 0))
    fixed = np.where(label == 1, 1.0, np.where(label == 2, 0.4, 0.1)) + 0.02 * generator.standard_normal(
        shape
    )
    displacement = np.zeros((len(shape), *shape))
    displacement[0] = 2.0
    return {
        "fixed": fixed,
        "moving": np.roll(fixed, 2, axis=0),
        "warped": fixed.copy(),
        "displacement": displacement,
        "spacing_mm": np.ones(len(shape)),
        "fixed_label": label,
        "moving_label": np.roll(label, 2, axis=0),
        "warped_label": label.copy(),
    }


@pytest.fixture(name="rows")
def rows_fixture():
    """The function that makes rows of one method and metric."""
    return result_rows


@pytest.fixture(name="frame")
def frame_fixture():
    """The function that joins rows into a table."""
    return frame


@pytest.fixture(name="case")
def case_fixture():
    """The function that makes the arrays of a case."""
    return small_case


def write_run(folder, *, results=None, history=None, record=None, cases=None, config=None):
    """Write a run folder; parts that are None are left out."""
    folder.mkdir()
    if results is not None:
        results.to_csv(folder / "results.csv", index=False)
    if history is not None:
        history.to_csv(folder / "history.csv", index=False)
    if record is not None:
        (folder / "run.json").write_text(json.dumps(record))
    if config is not None:
        (folder / "config.yaml").write_text(config)
    for case, arrays in (cases or {}).items():
        (folder / "cases").mkdir(exist_ok=True)
        np.savez_compressed(folder / "cases" / f"{case}.npz", **arrays)
    return folder


@pytest.fixture
def make_run(tmp_path):
    """The function that writes a run folder below the folder of the test."""
    return lambda name="run", **parts: write_run(tmp_path / name, **parts)


@pytest.fixture(scope="session")
def finished_source(tmp_path_factory):
    """A complete run: two methods, two structures, eight cases, training curves, one case with arrays."""
    generator = np.random.default_rng(1)
    groups = []
    for method, dice, distance in (("unregistered", 0.6, 8.0), ("net", 0.8, 4.0)):
        for structure, offset in (("LV", 0.05), ("RV", -0.05)):
            values = dice + offset + 0.03 * generator.standard_normal(8)
            groups.append(result_rows(values, method=method, structure=structure))
            values = distance * (1 - offset) + generator.standard_normal(8)
            groups.append(
                result_rows(values, method=method, structure=structure, metric="hd95_mm", unit="mm")
            )
        folds = 0.0 if method == "unregistered" else 0.125
        groups.append(
            result_rows([folds] * 8, method=method, structure="all", metric="folding_percent", unit="%")
        )
    steps = np.arange(10, 110, 10)
    history = pd.DataFrame(
        [
            (s, s // 10, name, np.exp(-s / 50))
            for name in ("train/loss", "val/loss", "val/dice_mean")
            for s in steps
        ],
        columns=["step", "epoch", "name", "value"],
    )
    record = {
        "status": "finished",
        "command": "train.py model=gradirn data=acdc",
        "overrides": ["model=gradirn", "data=acdc"],
        "model": "gradirn",
        "data": "acdc",
        "seed": 1,
        "parameters": 88500,
        "started": "2026-01-02T03:04:05+0000",
        "finished": "2026-01-02T04:07:05+0000",
        "commit": "0123456789abcdef",
        "dirty": False,
        "versions": {"medreg": "0.1.0", "torch": "2.13"},
        "choices": {"model": "gradirn", "data": "acdc", "similarity": "lncc"},
    }
    config = "seed: 1\ndata:\n  labels:\n    LV: 1\n    RV: 2\n"
    return write_run(
        tmp_path_factory.mktemp("runs") / "run",
        results=frame(*groups),
        history=history,
        record=record,
        cases={"c0": small_case()},
        config=config,
    )


@pytest.fixture(scope="session")
def finished_report(finished_source, tmp_path_factory):
    """The report of the complete run, made once; tests only read it."""
    folder = tmp_path_factory.mktemp("reported") / "run"
    shutil.copytree(finished_source, folder)
    return write_report(folder)


@pytest.fixture
def finished_run(finished_source, tmp_path):
    """A copy of the complete run that a test may change."""
    return shutil.copytree(finished_source, tmp_path / "run")
