"""One to many: what the code of each frame is made of."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medreg.errors import ConfigError
from medreg.models.hearts.recurrence import Recurrence

WIDTH = 7
CELLS = {"lstmcell": nn.LSTMCell, "grucell": nn.GRUCell}


def built(cell, first="code", seed=0):
    torch.manual_seed(seed)
    return Recurrence(WIDTH, cell=cell, first=first), torch.randn(3, WIDTH)


def cell_of(recurrence):
    """torch's cell with the same weights."""
    cell = CELLS[recurrence.cell](WIDTH, WIDTH)
    cell.load_state_dict(
        {name.removesuffix("_l0"): value for name, value in recurrence.steps.state_dict().items()}
    )
    return cell


def by_cell(cell, inputs, steps):
    """Outputs of a cell that sees the same input at every step, from the zero state."""
    state, outputs = None, []
    for _ in range(steps):
        state = cell(inputs, state)
        outputs.append(state[0] if isinstance(state, tuple) else state)
    return torch.stack(outputs, 1)


@pytest.mark.parametrize("cell", CELLS)
def test_frame_0_is_the_code_and_the_others_are_steps_with_that_input(cell):
    recurrence, code = built(cell)
    found = recurrence(code, 5)
    assert torch.equal(found[:, 0], code)
    torch.testing.assert_close(found[:, 1:], by_cell(cell_of(recurrence), code, 4), rtol=1e-5, atol=1e-6)


def test_an_output_reaches_the_next_through_the_state_alone():
    """The second step sees u and the state of the first, not its output."""
    recurrence, code = built("lstmcell")
    cell = cell_of(recurrence)
    first = cell(code)
    second = cell(code, first)
    fed_back = cell(first[0], first)
    found = recurrence(code, 3)[:, 2]
    torch.testing.assert_close(found, second[0], rtol=1e-5, atol=1e-6)
    assert float((found - fed_back[0]).detach().abs().max()) > 1e-3


@pytest.mark.parametrize(("cell", "kind"), [("lstm", nn.LSTM), ("gru", nn.GRU)])
def test_autoregressive_recurrences_see_their_last_output(cell, kind):
    recurrence, code = built(cell)
    layers = kind(WIDTH, WIDTH, num_layers=2, batch_first=True)
    layers.load_state_dict(recurrence.steps.state_dict())
    output, state, expected = code.unsqueeze(1), None, [code]
    for _ in range(3):
        output, state = layers(output, state)
        expected.append(output[:, 0])
    torch.testing.assert_close(recurrence(code, 4), torch.stack(expected, 1))


def test_recurrence_of_frame_0_is_one_step_ahead():
    ahead, code = built("lstmcell", first="recurrence")
    plain, _ = built("lstmcell")
    torch.testing.assert_close(ahead(code, 3), plain(code, 4)[:, 1:], rtol=1e-5, atol=1e-6)


def test_none_repeats_the_code():
    recurrence, code = built("none")
    assert torch.equal(recurrence(code, 4), code.unsqueeze(1).expand(-1, 4, -1))
    assert list(recurrence.parameters()) == []


@pytest.mark.parametrize("cell", ["lstmcell", "grucell", "lstm", "gru", "none"])
@pytest.mark.parametrize("frames", [1, 2, 20, 50])
def test_any_number_of_frames(cell, frames):
    recurrence, code = built(cell)
    found = recurrence(code, frames)
    assert found.shape == (3, frames, WIDTH)
    if cell != "none":
        assert float(found[:, 1:].detach().abs().max() if frames > 1 else 0) <= 1.0  # frame 0 is not bounded


def test_unknown_cell_is_refused():
    with pytest.raises(ConfigError, match=r"model\.cell"):
        Recurrence(4, cell="rnn", first="code")
