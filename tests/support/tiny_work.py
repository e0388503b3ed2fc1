"""A kind of work without training: rows follow from the options, and every unit that is done is noted in a file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf

from medreg.errors import NumericalError
from medreg.io.digest import digest_of
from medreg.study.unit import Outcome

CASES = 12


class TinyWork:
    """Dice of twelve cases around `mean`, and with `w1=…` a number of all cases together; `broken=true` fails."""

    launched = False

    def compose(self, overrides):
        return OmegaConf.from_dotlist([word for word in overrides if not word.startswith("logger")])

    def settings(self, seed, source):
        return {"seed": seed}

    def folder(self, cfg, own):
        return own.with_name(f"{own.name}_{digest_of(OmegaConf.to_container(cfg))}")

    def finished(self, folder):
        return True

    def collect(self, request):
        with Path(os.environ["TINY_WORK_LOG"]).open("a") as log:
            log.write(f"{request.row} {request.seed}\n")
        cfg = self.compose(request.overrides)
        if cfg.get("broken"):
            raise NumericalError("the loss is NaN in step 3; lower optimiser.lr.")
        noise = np.random.default_rng(request.seed).normal(0, 0.01, CASES)
        spread = np.linspace(-0.05, 0.05, CASES)
        rows = [
            {"case": f"{i}", "structure": "mean", "metric": "dice", "unit": "1",
             "value": float(cfg.mean + spread[i] + noise[i])}
            for i in range(CASES)
        ]  # fmt: skip
        if "w1" in cfg:  # of all cases together
            value = float(cfg.w1 + noise[0])
            rows.append(
                {"case": "population", "structure": "lvedv_ml", "metric": "w1", "unit": "ml", "value": value}
            )
        unit = request.unit
        facts = {
            "steps": 10,
            "cpu_seconds": 2.5,
            "seconds": 3.0,
            "code": dict(request.code),
            "commit": "abcdef1234",
        }
        return Outcome(unit.key, unit.digest, rows, cost={**facts, "parameters": cfg.get("parameters", 100)})
