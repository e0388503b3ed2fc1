"""`medreg capture-range` on tiny pairs: rows, resumption, bad input."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch
from rich.console import Console

from medreg.cli.main import main
from medreg.config.command import CAPTURE_RANGE
from medreg.errors import CheckpointError, ConfigError, DataError, NumericalError
from medreg.studies.capture_range import job, units
from medreg.studies.capture_range.cases import Cases, gathered
from medreg.studies.capture_range.views import STORE, VIEWS, write_views
from medreg.study.store import Store
from medreg.study.unit import Outcome

SMALL = [
    "measure=[ncc,ngf]", "draws=1", "rates=[0.02,0.05]", "families.translation=null", "families.scale=null",
    "families.shear=null", "families.rotation.edges=[0,20]", "families.rotation.line=[-30,-10,0,10,30]",
    "families.joint.edges=[1,3]", "pyramid=[{shrink: 1, sigma: 0.5, iterations: 15, learning_rate: 1.0}]",
    "criterion.resamples=20", "reference=ncc",
]  # fmt: skip


def _pairs(count: int = 2) -> Cases:
    """Two tilted blobs; the other contrast is inverted inside."""
    axis = torch.linspace(-1, 1, 24)
    x, y = torch.meshgrid(axis, axis, indexing="ij")
    blobs = [
        torch.exp(-((((x - 0.1 * k) / 0.5) ** 2 + ((y + 0.2 * x) / 0.25) ** 2) ** 2)) for k in range(count)
    ]
    fixed = torch.stack(blobs).unsqueeze(1)
    return Cases(tuple(f"p{k}" for k in range(count)), fixed, fixed * (1.4 - fixed), (1.0, 1.0), {})


@pytest.fixture
def tiny(monkeypatch):
    for module in (job, units):
        monkeypatch.setattr(module, "load_cases", lambda *args, **options: _pairs())


def _run(out: Path, *overrides: str) -> Path:
    return job.run_capture(
        CAPTURE_RANGE.compose([*SMALL, f"out={out}", *overrides]), console=Console(quiet=True)
    )


def test_rows_tables_figures_and_resumption(tiny, tmp_path):
    page = _run(tmp_path)
    starts, rates = pd.read_csv(tmp_path / "starts.csv"), pd.read_csv(tmp_path / "rates.csv")
    assert set(starts["measure"]) == {"ncc", "ngf"}
    assert len(starts) == 2 * 2 * 2
    assert (starts["energy_final"] <= starts["energy_start"] + 1e-6).all()
    assert starts["inside"].all()
    ncc, ngf = (starts[starts["measure"] == name]["start"].tolist() for name in ("ncc", "ngf"))
    assert ncc == ngf  # all measures have the same starts
    assert rates.groupby("measure")["chosen"].sum().eq(1).all()
    assert starts[starts["measure"] == "ncc"]["rate"].nunique() == 1
    for name in ("success.png", "residuals.png", "landscapes.png"):
        assert (tmp_path / "figures" / name).stat().st_size > 1000
    assert "## Capture range" in page.read_text()
    Store(tmp_path / STORE).compact(lambda found: found.key["measure"] != "ncc")
    lines = (tmp_path / STORE).read_bytes()
    _run(tmp_path)  # the dropped rows are made again, the others kept
    assert (tmp_path / STORE).read_bytes().startswith(lines)
    again = pd.read_csv(tmp_path / "starts.csv")
    keys = ["measure", "family", "case", "draw"]
    first = starts.sort_values(keys).drop(columns="cpu_seconds").reset_index(drop=True)
    second = again.sort_values(keys).drop(columns="cpu_seconds").reset_index(drop=True)
    pd.testing.assert_frame_equal(first, second)


@pytest.mark.slow
def test_rows_of_other_settings_are_made_again(tiny, tmp_path):
    only = ("only=starts", "rate=0.03", "measure=[ncc]", "families.joint=null")
    _run(tmp_path, *only)
    old = set(pd.read_csv(tmp_path / "starts.csv")["digest"])
    _run(tmp_path, *only, "seed=5")
    starts = pd.read_csv(tmp_path / "starts.csv")
    assert len(starts) == 2
    assert not old & set(starts["digest"])
    _run(tmp_path, *only, "seed=5", "rate=0.05")  # another rate, other residuals
    assert pd.read_csv(tmp_path / "starts.csv")["rate"].tolist() == [0.05, 0.05]


@pytest.mark.slow
def test_more_draws_are_added_to_the_first(tiny, tmp_path):
    only = ("only=starts", "rate=0.03", "measure=[ncc]", "families.joint=null", "draws=3")
    _run(tmp_path, *only, "first_draws=1")
    first = pd.read_csv(tmp_path / "starts.csv")
    _run(tmp_path, *only)
    starts = pd.read_csv(tmp_path / "starts.csv")
    assert starts["draw"].tolist() == [0, 0, 1, 1, 2, 2]
    pd.testing.assert_frame_equal(starts[:2], first)  # CPU time too: they were not made again
    _run(tmp_path, *only, "first_draws=1")
    assert len(pd.read_csv(tmp_path / "starts.csv")) == 6
    _run(tmp_path, *only, "first_draws=1", "rate=0.05")  # draws at another rate are not mixed with these
    assert pd.read_csv(tmp_path / "starts.csv")["rate"].tolist() == [0.05, 0.05]


def test_a_stopped_range_goes_on_and_ends_as_an_undisturbed_one(tiny, tmp_path, monkeypatch):
    only = ("only=starts", "rate=0.03", "measure=[ncc]", "draws=2")
    _run(tmp_path / "whole", *only)
    real, calls = units.register_starts, []

    def stops(*args, **options):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*args, **options)

    monkeypatch.setattr(units, "register_starts", stops)
    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path / "stopped", *only)
    assert len(pd.read_csv(tmp_path / "stopped" / "starts.csv")) == 4  # the view is there
    _run(tmp_path / "stopped", *only)
    assert len(calls) == 5  # four units, one of them twice
    whole, stopped = (
        pd.read_csv(tmp_path / name / "starts.csv").drop(columns="cpu_seconds")
        for name in ("whole", "stopped")
    )
    pd.testing.assert_frame_equal(whole, stopped)


def test_a_unit_that_fails_costs_itself_only(tiny, tmp_path, monkeypatch):
    only = ("only=starts", "rate=0.03", "measure=[ncc]", "draws=2", "families.joint=null")
    real, bad = units.register_starts, [True]

    def fails(*args, **options):
        if bad and bad.pop():
            raise NumericalError("NaN in the pose")
        return real(*args, **options)

    monkeypatch.setattr(units, "register_starts", fails)
    _run(tmp_path, *only)
    assert pd.read_csv(tmp_path / "starts.csv")["draw"].tolist() == [1, 1]
    _run(tmp_path, *only)
    assert len(pd.read_csv(tmp_path / "starts.csv")) == 2
    _run(tmp_path, *only, "retry=true")
    assert sorted(pd.read_csv(tmp_path / "starts.csv")["draw"]) == [0, 0, 1, 1]


def test_a_first_stage_gives_way_to_the_measure_of_its_name(tmp_path):
    """MAD + NMI leaves rows of its first stage, MAD; where MAD was run by itself, its own rows count."""
    store = Store(tmp_path / STORE)
    row = dict.fromkeys(VIEWS["starts"][0], 0)
    where = {"family": "joint", "low": 0, "high": 4, "draw": 0}
    both = [{**row, **where, "measure": name, "final": 2} for name in ("mad", "mad_nmi")]
    store.add(Outcome({"part": "starts", "measure": "mad_nmi", **where}, "", both))
    write_views(store, tmp_path)
    assert sorted(pd.read_csv(tmp_path / "starts.csv")["measure"]) == ["mad", "mad_nmi"]
    own = [{**row, **where, "measure": "mad", "final": 1}]
    store.add(Outcome({"part": "starts", "measure": "mad", **where}, "", own))
    write_views(store, tmp_path)
    table = pd.read_csv(tmp_path / "starts.csv").set_index("measure")["final"]
    assert table.to_dict() == {"mad": 1, "mad_nmi": 2}


def test_tables_of_an_earlier_version_are_not_overwritten(tiny, tmp_path):
    (tmp_path / "starts.csv").write_text("measure\nncc\n")
    with pytest.raises(DataError, match="of another version"):
        _run(tmp_path, "only=starts", "rate=0.03")
    assert (tmp_path / "starts.csv").read_text() == "measure\nncc\n"


def _item(name: str, **images: torch.Tensor) -> dict[str, object]:
    one = torch.rand(1, 6, 6)
    return {"name": name, "fixed": one, "moving": one, "spacing_mm": (1.0, 1.0), **images}


def test_a_bad_pair_is_left_out_and_named():
    bad = torch.full((1, 6, 6), float("nan"))
    items = [_item("good"), _item("holes", moving=bad), _item("flat", fixed=torch.ones(1, 6, 6))]
    cases = gathered(iter(items), limit=None, what="data=x")
    assert cases.names == ("good",)
    assert cases.left_out == {
        "holes": "the moving image holds NaN or infinite values",
        "flat": "the fixed image is constant",
    }
    with pytest.raises(DataError, match="holes: the moving image holds NaN"):
        gathered(iter(items[1:2]), limit=None, what="data=x")


def test_pairs_of_different_grids_are_refused():
    items = [_item("a"), _item("b", fixed=torch.rand(1, 7, 6), moving=torch.rand(1, 7, 6))]
    with pytest.raises(DataError, match="different grids"):
        gathered(iter(items), limit=None, what="data=x")


def test_a_learned_measure_needs_a_checkpoint(tiny, tmp_path):
    with pytest.raises(ConfigError, match="ckpt=RUN"):
        _run(tmp_path, "measure=[mad]")
    with pytest.raises(CheckpointError, match="nowhere"):
        _run(tmp_path, "measure=[mad]", f"ckpt={tmp_path / 'nowhere'}")


@pytest.mark.parametrize(
    ("override", "message"),
    [("unit=inch", "pixel or mm"), ("only=some", "landscapes"), ("tuning_family=spiral", "rotation")],
)
def test_unknown_choices_are_named(tiny, tmp_path, override, message):
    with pytest.raises(ConfigError, match=message):
        _run(tmp_path, override)


def test_misspelt_options_are_answered_with_the_nearest(capsys):
    assert main(["capture-range", "measure=[nmmi]"]) == 1
    assert "nmi" in capsys.readouterr().err
    assert main(["capture-range", "drawz=1"]) == 1
    assert "draws" in capsys.readouterr().err


def test_every_measure_composes():
    names = CAPTURE_RANGE.options("measure")
    assert {"mse", "ncc", "nmi", "mind", "ngf", "mad", "mad_nmi"} <= set(names)
    assert set(CAPTURE_RANGE.compose([f"measure=[{','.join(names)}]"]).measures) == set(names)


def test_a_report_needs_results(tmp_path):
    with pytest.raises(DataError, match="no results yet"):
        _run(tmp_path, "only=report")


def test_no_pairs_to_choose_a_rate_on_is_told_with_the_way_out(tmp_path, monkeypatch):
    def load(pairs, *, stage, limit):
        if stage == "val":
            raise DataError("data=x holds no usable pair (no pairs at all).")
        return _pairs()

    for module in (job, units):
        monkeypatch.setattr(module, "load_cases", load)
    with pytest.raises(DataError, match=r"tuning_stage=val; rate=0\.04 goes without"):
        _run(tmp_path, "only=starts")
