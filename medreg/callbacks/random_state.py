"""Keep the random states in checkpoints, so that a resumed run draws what an uninterrupted one would have drawn."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch


class RandomState(pl.Callback):
    """Save and restore the states of torch (CPU and CUDA), numpy and Python as plain tensors and lists."""

    def state_dict(self) -> dict[str, Any]:
        """Return the states; all values load with `weights_only=True`."""
        _, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)  # noqa: NPY002 (the global state)
        version, words, following = random.getstate()
        return {
            "torch": torch.get_rng_state(),
            "cuda": list(torch.cuda.get_rng_state_all()) if torch.cuda.is_available() else [],
            "numpy": [
                torch.as_tensor(np.asarray(keys, dtype=np.int64)),
                int(position),
                int(has_gauss),
                float(gauss),
            ],
            "python": [version, list(words), following],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the states."""
        torch.set_rng_state(state_dict["torch"].cpu().to(torch.uint8))
        if torch.cuda.is_available() and len(state_dict["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all([state.cpu().to(torch.uint8) for state in state_dict["cuda"]])
        keys, position, has_gauss, gauss = state_dict["numpy"]
        np.random.set_state(  # noqa: NPY002 (the global state)
            ("MT19937", keys.cpu().numpy().astype(np.uint32), position, has_gauss, gauss)
        )
        version, words, following = state_dict["python"]
        random.setstate((version, tuple(words), following))
