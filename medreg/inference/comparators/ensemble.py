"""Deep ensembles: one module, several trained states, equal weights (Lakshminarayanan et al., NeurIPS 2017)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from medreg.errors import CompositionError, ConfigError

State = Mapping[str, Tensor]


def ensemble_draws(
    members: Sequence[nn.Module | State], *inputs: Tensor, template: nn.Module | None = None
) -> Tensor:
    """Return the answers of all members, (M, …), in evaluation mode and without gradients.

    Args:
        members: modules, or states (parameters and buffers) of `template`.
        *inputs: of the modules.
        template: the module that states belong to; unchanged.

    Raises:
        ConfigError: no member, or a state without a template.
        CompositionError: a state that does not fit the template; names what is missing.
    """
    if not members:
        raise ConfigError("A deep ensemble without members predicts nothing; train one or more.")
    with torch.no_grad():
        return torch.stack([_answer(member, inputs, template) for member in members])


def _answer(member: nn.Module | State, inputs: Sequence[Tensor], template: nn.Module | None) -> Tensor:
    module = member if isinstance(member, nn.Module) else template
    if module is None:
        raise ConfigError("States of an ensemble need the module that they belong to; give template=.")
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        if isinstance(member, nn.Module):
            found: Tensor = module(*inputs)
            return found
        lacking = sorted(set(module.state_dict()) ^ set(member))
        if lacking:
            raise CompositionError(
                f"A state of the ensemble does not fit {type(module).__name__}: {lacking[0]} differs."
            )
        answer: Tensor = functional_call(module, dict(member), tuple(inputs))
        return answer
    finally:
        for part, mode in modes.items():
            part.training = mode
