"""BibTeX of the models, losses and data sets that a run used."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources
from typing import Any

KEYWORDS = re.compile(r"^\s*keywords\s*=\s*\{([^}]*)\},?\n", re.MULTILINE)


def all_entries() -> dict[str, frozenset[str]]:
    """Every BibTeX entry of references.bib with what it belongs to, such as "model=gradirn".

    The field `keywords` of an entry names the options of configuration groups that it should be cited for.
    """
    text = (resources.files("medreg.reporting") / "references.bib").read_text(encoding="utf-8")
    found = {}
    for entry in re.split(r"^(?=@)", text, flags=re.MULTILINE):
        match = KEYWORDS.search(entry)
        if match:
            words = frozenset(word.strip() for word in match[1].split(","))
            found[KEYWORDS.sub("", entry).strip() + "\n\n"] = words
    return found


def entries_for(record: Mapping[str, Any]) -> list[str]:
    """The BibTeX entries for a run.

    Args:
        record: run.json: `choices` maps configuration groups to options; `model` and `data` count without it.
    """
    choices = record.get("choices")
    used = dict(choices) if isinstance(choices, Mapping) else {}
    used |= {key: record[key] for key in ("model", "data") if key in record}
    words = {f"{group}={option}" for group, option in used.items()}
    return [entry for entry, keywords in all_entries().items() if keywords & words]
