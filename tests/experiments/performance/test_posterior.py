"""The section of inference: its pieces run, and its table and targets say what was measured."""

from __future__ import annotations

import math
from functools import partial

import pandas as pd
import pytest
import torch

from experiments.performance.__main__ import main
from experiments.performance.frame import read_frame
from experiments.performance.inputs import Inputs
from experiments.performance.measurements import Measurements, Row
from experiments.performance.peers import our_posterior
from experiments.performance.posterior_section import makers, mode_of
from experiments.performance.posterior_sheet import parity_sheet, posterior_sheet
from experiments.performance.posterior_targets import posterior_targets_sheet
from experiments.performance.sizes import Size
from experiments.performance.targets import targets_sheet
from experiments.performance.work import Contender, Inference

FACTS = dict.fromkeys(("cpu", "cores", "threads", "device", "python", "torch", "medreg", "commit"), "x")
INPUTS = Inputs(Size(1, (10, 12, 14)))


@pytest.mark.parametrize(
    "maker",
    [
        our_posterior.iteration, our_posterior.transition, our_posterior.bare,
        partial(our_posterior.one_after_another, chains=2),
    ],
)  # fmt: skip
def test_pieces_can_be_repeated(maker):
    piece = maker(INPUTS)
    piece.run()
    piece.run()
    assert piece.figures() == {}


def test_the_released_form_differs_from_the_correct_one_in_smoothing_and_prior():
    latent = torch.randn(1, 3, 10, 12, 14, generator=torch.Generator().manual_seed(0))
    energies = []
    for form in ("correct", "released"):
        energy = our_posterior.posterior(INPUTS, form=form, jitter=0.0)
        energy.start(energy.identity())
        energies.append(float(energy(latent)))
    assert abs(energies[0] - energies[1]) > 1


def test_the_notebook_comes_near_its_truth():
    piece = our_posterior.notebook(INPUTS, steps=300)
    piece.run()
    assert 0 < piece.figures()["kl"] < 3


class Peer(Contender):
    name = "peer"

    def inference(self):
        nothing = Inference(lambda: None)
        return {
            "vi": lambda inputs: nothing,
            "vi lean": lambda inputs: nothing,
            "chains": lambda inputs: nothing,
        }


def test_variants_stand_after_a_comma():
    assert list(makers([Peer()], "vi")) == ["peer", "peer, lean"]
    assert (mode_of(1), mode_of(2)) == ("1 thread", "2 threads")


def measured(folder):
    sizes = {"vi": "64x64x64", "transition": "64x64x64", "chains": "32x32x32", "notebook": ""}
    others = {
        "vi": {"medreg, bare energy": 1.1, "ir-sgmcmc release": 0.25},
        "transition": {"medreg, bare energy": 1.4, "ir-sgmcmc release": 0.2},
        "chains": {"medreg, one after another": 0.65},
        "notebook": {"dlvi release": 0.1},
    }
    rows = []
    for item, found in others.items():
        for name, share in {"medreg": 1.0, **found}.items():
            row = partial(Row, "posterior", item, sizes[item], name, "1 thread")
            rows += [row("wall_s", 0.1 / share), row("cpu_s", 0.1 / share)]
            if name != "medreg":
                rows += [row(q, share, share / 2, 2 * share) for q in ("wall_ratio", "cpu_ratio")]
    rows += [
        Row("posterior", "notebook", "", "medreg", "1 thread", "kl", 0.2),
        Row("posterior", "vi", "24x24x24", "ir-sgmcmc release", "values", "data_difference", 1e-6),
        Row("posterior", "vi", "24x24x24", "ir-sgmcmc release", "values", "prior_difference", 1e-5),
    ]
    Measurements(folder, facts=FACTS).add(rows)
    return read_frame(folder)


def test_the_table_says_how_many_times_as_long_the_others_take(tmp_path):
    rows = {(row[0], row[3]): row for row in posterior_sheet(measured(tmp_path)).rows}
    released = rows["VI iteration, mirrored pair", "ir-sgmcmc release"]
    assert released[1:] == ["64³", "1 thread", "ir-sgmcmc release", "400", "400", "4 (2–8)", "4 (2–8)", ""]
    assert rows["engine, 8-D normal, 1000 steps", "medreg"][-1] == "KL 0.2"
    assert parity_sheet(read_frame(tmp_path)).rows[1] == ["prior", "ir-sgmcmc release", "1e-05"]


def test_targets_of_inference_are_judged(tmp_path):
    frame = measured(tmp_path)
    assert not targets_sheet(frame).rows  # nothing of theirs was measured
    rows = {row[0]: row[1:] for row in posterior_targets_sheet(frame).rows}
    assert rows["the engine against dlvi on its notebook, 1 thread"] == ["10", "≥ 3", "reached"]
    assert rows["transition of two chains against ir-sgmcmc release at 64³, 1 thread"][0] == "5"
    assert rows["VI iteration over its bare energy, 64³, 1 thread"] == ["1.1", "≤ 1.3", "reached"]
    assert rows["transition of two chains over its bare energy, 64³, 1 thread"][2] == "**missed**"
    assert rows["four chains in a batch over one after another, 32³, 1 thread"][2] == "reached"
    apart = rows["largest relative difference from the posterior of ir-sgmcmc"]
    assert math.isclose(float(apart[0]), 1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_from_command_to_report(tmp_path):
    command = ["posterior", "--quick", "--sizes", "12x14x16", "--threads", "1"]
    assert main([*command, "--output", str(tmp_path)]) == 0
    frame = pd.read_csv(tmp_path / "bench.csv")
    assert set(frame["item"]) >= {"notebook", "vi", "transition", "chains"}
    assert not (frame["quantity"] == "failed").any()
    assert "four chains" in (tmp_path / "report.md").read_text()
