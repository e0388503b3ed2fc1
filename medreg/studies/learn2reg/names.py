"""Names of displacement files: `disp_F_M` or `disp_F_f_M_m`, and which of them each evaluation accepts."""

from __future__ import annotations

from typing import Literal, TypeAlias

from medreg.data.datasets.learn2reg_config import PairPaths
from medreg.errors import require_choice

Naming: TypeAlias = Literal["short", "long", "both"]
Rule: TypeAlias = Literal["2022", "2025", "any"]


def short_name(pair: PairPaths) -> str:
    """`disp_<fixed case>_<moving case>`, without suffix."""
    return f"disp_{pair.fixed_case}_{pair.moving_case}"


def long_name(pair: PairPaths) -> str:
    """`disp_<fixed case>_<modality>_<moving case>_<modality>`, without suffix."""
    return f"disp_{pair.fixed_case}_{pair.fixed_modality}_{pair.moving_case}_{pair.moving_modality}"


def field_names(pair: PairPaths, *, naming: Naming = "both") -> list[str]:
    """Names to write for a pair, without suffix.

    Args:
        pair: the pair.
        naming: "short", "long", or "both", the short one first.

    Raises:
        ConfigError: an unknown naming.
    """
    choices = {
        "short": [short_name(pair)],
        "long": [long_name(pair)],
        "both": [short_name(pair), long_name(pair)],
    }
    require_choice("naming", naming, choices)
    return choices[naming]


def accepted_names(pair: PairPaths, *, rule: Rule = "any") -> list[str]:
    """Names that an evaluation looks for, in its order, without suffix.

    Args:
        pair: the pair.
        rule: "2022": the official code until 2025-02-09, its test container and the challenge site, which want
            the short name for equal modalities and for (0000, 0001), and the long name for all others.
            "2025": the code since 2025-02-10 (commit 8847509), which takes the long name always and the
            short one for (0000, 0001) only. "any": what either accepts, the newer rule first.

    Raises:
        ConfigError: an unknown rule.
    """
    modalities = (pair.fixed_modality, pair.moving_modality)
    first_two, equal = modalities == ("0000", "0001"), modalities[0] == modalities[1]
    old = [short_name(pair)] if first_two or equal else [long_name(pair)]
    new = [short_name(pair), long_name(pair)] if first_two else [long_name(pair)]
    rules = {"2022": old, "2025": new, "any": list(dict.fromkeys(new + old))}
    require_choice("rule", rule, rules)
    return rules[rule]
