"""The section of augmentation: its steps run, and its table and targets say what was measured."""

from __future__ import annotations

import math
import sys
from functools import partial

import pandas as pd
import pytest
import torch

from experiments.performance.__main__ import main
from experiments.performance.augmentation_sheet import (
    agreement_sheet,
    augmentation_sheet,
    augmentation_targets_sheet,
)
from experiments.performance.frame import read_frame
from experiments.performance.inputs import Inputs
from experiments.performance.measurements import Measurements, Row
from experiments.performance.peers import released
from experiments.performance.peers.advchain_release import infinity
from experiments.performance.peers.advchain_step import our_steps
from experiments.performance.sizes import Size

FACTS = dict.fromkeys(("cpu", "cores", "threads", "device", "python", "torch", "medreg", "commit"), "x")


def test_a_shared_pass_gives_the_same_loss():
    inputs = Inputs(Size(2, (32, 32)))
    makers = our_steps()
    shared, own = (makers[name](inputs) for name in ("advchain", "advchain unshared pass"))
    torch.testing.assert_close(shared.loss(), own.loss())
    assert float(shared.loss().detach()) > float(makers["advchain plain step"](inputs).loss().detach())
    before = [p.detach().clone() for p in shared.network.parameters()]
    shared.run()
    assert any(not torch.equal(p, q) for p, q in zip(before, shared.network.parameters(), strict=True))


def test_the_release_is_known_by_its_files_and_leaves_nothing(tmp_path):
    folder = tmp_path / "advchain" / "augmentor"
    folder.mkdir(parents=True)
    (folder / "adv_compose_solver.py").touch()
    assert [one.name for one in released((tmp_path,))] == ["AdvChain release"]
    had = "Inf" in vars(sys.modules["numpy"])
    with infinity():
        assert math.isinf(vars(sys.modules["numpy"])["Inf"])
    assert ("Inf" in vars(sys.modules["numpy"])) == had


def measured(folder):
    rows = []
    for name, share in {"medreg": 1.0, "medreg, plain step": 3.3, "AdvChain release": 0.7}.items():
        row = partial(Row, "augmentation", "advchain", "4*192x192", name, "1 thread")
        rows += [row("wall_s", 0.1 / share), row("cpu_s", 0.1 / share)]
        if name != "medreg":
            rows += [row(q, share, share / 2, 2 * share) for q in ("wall_ratio", "cpu_ratio")]
    parity = partial(Row, "augmentation", "advchain", "2*64x64", "AdvChain release", "values")
    rows += [
        parity("image_difference", 2e-3, note="ours"),
        parity("divergence_kl_difference", 1e-4, note="ours"),
    ]
    Measurements(folder, facts=FACTS).add(rows)
    return read_frame(folder)


def test_the_table_and_its_targets(tmp_path):
    frame = measured(tmp_path)
    rows = {row[2]: row for row in augmentation_sheet(frame).rows}
    assert rows["medreg"][:6] == ["4 × 192²", "1 thread", "medreg", "100", "100", "3.3"]
    assert rows["AdvChain release"][-1] == "1.43 (0.714–2.86)"
    assert agreement_sheet(frame).rows[1] == ["divergence kl", "AdvChain release", "0.0001"]
    targets = {row[0]: row[1:] for row in augmentation_targets_sheet(frame).rows}
    assert targets["AdvChain's step over a plain one, 4 × 192², 1 thread"] == ["3.3", "≤ 3.2", "**missed**"]
    assert targets["AdvChain's step against AdvChain release, 4 × 192², 1 thread"][2] == "reached"
    assert targets["relative difference of the divergence from AdvChain release"][0] == "0.0001"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_from_command_to_report(tmp_path):
    command = ["augmentation", "--quick", "--sizes", "2*32x32", "--threads", "1"]
    assert main([*command, "--output", str(tmp_path)]) == 0
    frame = pd.read_csv(tmp_path / "bench.csv")
    assert {"medreg", "medreg, plain step", "medreg, random chain"} <= set(frame["contender"])
    assert not (frame["quantity"] == "failed").any()
    assert "Adversarial augmentation" in (tmp_path / "report.md").read_text()
