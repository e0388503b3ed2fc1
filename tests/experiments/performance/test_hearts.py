"""The section of hearts: its steps run, and its tables and targets say what was measured."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from experiments.performance.__main__ import main
from experiments.performance.frame import read_frame
from experiments.performance.hearts_sheet import grid_sheet, hearts_sheet, hearts_targets_sheet, values_sheet
from experiments.performance.inputs import Inputs
from experiments.performance.measurements import Measurements, Row
from experiments.performance.peers import released
from experiments.performance.peers.cheart_release import CHeartRelease, states_on, their_batch
from experiments.performance.peers.heart_step import Hearts, our_heart_steps
from experiments.performance.sizes import Size

FACTS = dict.fromkeys(("cpu", "cores", "threads", "device", "python", "torch", "medreg", "commit"), "x")
SMALL = Size(2, (16, 16, 16))


def test_checkpointing_gives_the_same_loss_and_gradients():
    makers, inputs = our_heart_steps(), Inputs(SMALL)
    plain, spared = (makers[name](inputs) for name in ("cheart", "cheart checkpoint"))
    torch.testing.assert_close(plain.loss(), spared.loss(), rtol=0, atol=0)
    for one, other in zip(plain.gradients(), spared.gradients(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)
    for one, other in zip(plain.network.buffers(), spared.network.buffers(), strict=True):
        torch.testing.assert_close(one, other)


def test_a_step_trains_and_fewer_frames_are_other_frames():
    makers, inputs = our_heart_steps(), Inputs(SMALL)
    few, whole = makers["cheart four frames"](inputs), makers["cheart"](inputs)
    assert float(few.loss().detach()) != float(whole.loss().detach())
    before = [p.detach().clone() for p in few.network.parameters()]
    few.run()
    assert any(not torch.equal(p, q) for p, q in zip(before, few.network.parameters(), strict=True))


def test_hearts_beat_and_their_batch_is_the_same_with_axes_turned():
    hearts = Hearts.of(Inputs(Size(2, (16, 16, 8))))
    blood = (hearts.shape == 1).flatten(2).sum(2)
    assert (blood[:, 10] < blood[:, 0]).all()
    assert hearts.shape.unique().tolist() == [0, 1, 2, 3]
    segmentation, people = their_batch(hearts)
    assert segmentation.shape == (2, 20, 4, 8, 16, 16)
    assert torch.equal(segmentation.argmax(2).permute(0, 1, 3, 4, 2), hearts.shape.long())
    assert [values.shape for values in people] == [(2, 1)] * 5
    assert set(people[0].flatten().tolist()) <= set(range(7))  # groups of age


def test_the_release_is_known_by_its_files_and_leaves_nothing(tmp_path):
    (tmp_path / "networks.py").write_text("class GenCVAE_Seq(nn.Module):\n")
    assert [one.name for one in released((tmp_path,))] == [CHeartRelease.name]
    kept = torch.Tensor.cuda
    with states_on(torch.device("cpu")):
        assert torch.zeros(1).cuda().device.type == "cpu"
    assert torch.Tensor.cuda is kept


def measured(folder):
    rows = []
    times = {"medreg": 1.0, "medreg, per frame": 0.8, "CHeart release": 0.25}
    for name, share in times.items():
        row = partial(Row, "hearts", "cheart", "4*32x32x16", name, "1 thread")
        rows += [row("wall_s", 0.1 / share), row("cpu_s", 0.1 / share)]
        if name != "medreg":
            rows += [row(q, share, share / 2, 2 * share) for q in ("wall_ratio", "cpu_ratio")]
    spared = "medreg, checkpoint four frames"
    alone = partial(Row, "hearts", "cheart", "4*128x128x64", spared, f"alone, {spared}")
    rows += [alone("memory_mib", 9000.0), alone("wall_s", 3.0), alone("cpu_s", 5.0)]
    rows.append(
        Row(
            "hearts", "cheart", "3*32x32x16", "CHeart release", "values", "loss_difference", 1e-7, note="ours"
        )
    )
    Measurements(folder, facts=FACTS).add(rows)
    return read_frame(folder)


def test_the_tables_and_their_targets(tmp_path):
    frame = measured(tmp_path)
    rows = {row[2]: row for row in hearts_sheet(frame).rows}
    assert rows["medreg"][:5] == ["4 × 32 × 32 × 16", "1 thread", "medreg", "100", "100"]
    assert rows["CHeart release"][-1] == "4 (2–8)"
    assert [row[1:3] for row in grid_sheet(frame).rows] == [["medreg, checkpoint four frames", "9000"]]
    assert values_sheet(frame).rows == [["loss", "CHeart release", "1e-07"]]
    targets = {row[0]: row[1:] for row in hearts_targets_sheet(frame).rows}
    where = "4 × 32 × 32 × 16, 1 thread"
    assert targets[f"CHeart's step against CHeart release, {where}"] == ["4", "≥ 2", "reached"]
    alike = targets[f"the same, frames normalised one by one as there, {where}"]
    assert alike == ["3.2", "≥ 2", "reached"]
    spared = targets["MiB of a step with checkpointing and four frames, 4 × 128 × 128 × 64"]
    assert spared[2] == "**missed**"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_from_command_to_report(tmp_path):
    command = ["hearts", "--quick", "--sizes", "2*16x16x16", "--threads", "1"]
    assert main([*command, "--output", str(tmp_path)]) == 0
    assert not (read_frame(tmp_path)["quantity"] == "failed").any()
    assert "One step of CHeart" in (tmp_path / "report.md").read_text()
