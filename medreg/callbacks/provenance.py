"""Every checkpoint says where it comes from: resolved configuration, overrides, commit, data fingerprint."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl


class Provenance(pl.Callback):
    """Add plain facts to each checkpoint under the key `medreg`.

    Args:
        facts: nested dictionaries, lists, strings, numbers; they load with `weights_only=True`.
    """

    def __init__(self, facts: dict[str, Any]) -> None:
        self.facts = facts

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Write the facts."""
        checkpoint["medreg"] = self.facts
