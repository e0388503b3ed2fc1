"""The options of `model` that are models of hearts: those that choose a task on shapes, by themselves or by another."""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "model"


def _is_heart(name: str) -> bool:
    text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    if "medreg.models.hearts" in text or re.search(
        r"override /task: (generation|fitted|adversarial|ageing)", text
    ):
        return True
    bases = re.findall(r"^  - (\w+)$", text, flags=re.MULTILINE)
    return any(_is_heart(base) for base in bases if (FOLDER / f"{base}.yaml").is_file())


HEART_MODELS = sorted(file.stem for file in FOLDER.glob("*.yaml") if _is_heart(file.stem))
