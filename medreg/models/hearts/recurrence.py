"""From the code of the first frame to a code a frame: one to many."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from medreg.errors import require_choice

Cell = Literal["lstmcell", "grucell", "lstm", "gru", "none"]
LAYERS = 2  # of the autoregressive recurrences (released code, networks.py)


class Recurrence(nn.Module):
    """v_0, …, v_(T−1) from u = v_0; every state starts at zero and is as wide as u.

    | cell | v_t for t ≥ 1 |
    | --- | --- |
    | lstmcell, grucell | output of one cell that sees u itself at every step |
    | lstm, gru | output of two layers that see v_(t−1) |
    | none | u again: no motion |

    Frame 0 bypasses the recurrence, so its code is not bounded as those of an LSTM are. Qiao et al., TMI 2023 (CHeart),
    whose published model is the first row; the others are ablations of the first release (networks.py).

    Args:
        width: of u.
        cell: as above.
        first: "code": v_0 = u; "recurrence": frame 0 is a step of the recurrence too, v_t is what would be v_(t+1)
            (released as GenCVAE_Seq_forvaegan).
    """

    def __init__(self, width: int, *, cell: Cell, first: Literal["code", "recurrence"]) -> None:
        super().__init__()
        require_choice("model.cell", cell, get_args(Cell))
        require_choice("model.first_frame", first, ("code", "recurrence"))
        self.cell, self.first = cell, first
        kinds = {"lstmcell": nn.LSTM, "lstm": nn.LSTM, "grucell": nn.GRU, "gru": nn.GRU}
        self.autoregressive = cell in ("lstm", "gru")
        layers = LAYERS if self.autoregressive else 1
        self.steps = kinds[cell](width, width, num_layers=layers, batch_first=True) if cell in kinds else None

    def forward(self, code: Tensor, frames: int) -> Tensor:
        """Return the codes of the first frames, (B, frames, width), of u (B, width)."""
        if self.steps is None:
            return code.unsqueeze(1).expand(-1, frames, -1)
        if self.first == "recurrence":
            return self._rolled(code, frames)
        start = code.unsqueeze(1)
        return start if frames == 1 else torch.cat([start, self._rolled(code, frames - 1)], 1)

    def _rolled(self, code: Tensor, steps: int) -> Tensor:
        """The outputs of so many steps."""
        assert self.steps is not None
        if not self.autoregressive:  # the same input at every step, so one call does them all
            found: Tensor = self.steps(code.unsqueeze(1).expand(-1, steps, -1))[0]
            return found
        output, state, outputs = code.unsqueeze(1), None, []
        for _ in range(steps):
            output, state = self.steps(output, state)
            outputs.append(output)
        return torch.cat(outputs, 1)
