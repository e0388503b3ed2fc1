"""Refusals that many options share."""

from __future__ import annotations

import pytest

from medreg.errors import ConfigError, require_choice


@pytest.mark.parametrize(
    ("choices", "told"),
    [(("a",), "choose a."), (("a", "b"), "choose a or b."), ((1, 2, 3), "choose 1, 2 or 3.")],
)
def test_a_refusal_names_option_value_and_every_choice(choices, told):
    require_choice("data.kind", choices[-1], choices)
    with pytest.raises(ConfigError, match="data.kind is 'x'; " + told):
        require_choice("data.kind", "x", iter(choices))
