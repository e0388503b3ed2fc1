"""A device by its name, tried before any work is done."""

from __future__ import annotations

import torch

from medreg.errors import ConfigError


def usable_device(name: str) -> torch.device:
    """Return the device of a name such as "cpu" or "cuda:1".

    Raises:
        ConfigError: it cannot be used here.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"--device {name} cannot be used here: {reason}. Use --device cpu.") from error
    return device
