"""What is said of a person: in words of the command line or of the data, told where odd, refused where impossible."""

from __future__ import annotations

import pytest
from hearts_run import conditions

from medreg.config.instantiate import build
from medreg.errors import ConfigError
from medreg.generating.asked import odd_conditions, read_conditions, shown


@pytest.fixture
def told():
    found = build(conditions("age_years", "sex", "height_cm", "group"))
    found.low[:], found.high[:] = 0.0, 1.0
    found.low[0], found.high[0] = 44.0, 82.0
    found.low[2], found.high[2] = 150.0, 190.0
    return found


def test_short_names_words_and_numbers(told):
    found = read_conditions(told, {"age": "60", "sex": "F", "height_cm": 165, "weight": None, "group": "dcm"})
    assert {name: float(value) for name, value in found.items()} == {
        "age_years": 60.0, "sex": 0.0, "height_cm": 165.0, "group": 1.0,
    }  # fmt: skip
    assert shown(told, found) == {"age_years": 60.0, "sex": "F", "height_cm": 165.0, "group": "DCM"}


def test_what_is_not_said_is_unknown_and_told(told):
    found = read_conditions(told, {"age_years": 90})
    assert shown(told, found) == {"age_years": 90.0, "sex": None, "height_cm": None, "group": None}
    outside, unknown = odd_conditions(told, found)
    assert "age_years=90" in outside
    assert "44 to 82 years" in outside
    assert unknown.startswith("not given: sex (--sex), height_cm (--height), group (--condition group=…)")


def test_within_the_range_nothing_is_told(told):
    found = read_conditions(told, {"age": 60, "sex": "M", "height": 170, "group": "NOR"})
    assert odd_conditions(told, found) == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"age": "-3"}, r"age_years \(--age\) is '-3'; give a number from 0 to 120"),
        ({"age": "old"}, "age_years .* is 'old'"),
        ({"age": float("nan")}, "age_years .* is nan"),
        ({"sex": "X"}, r"sex \(--sex\) is 'X'; give F"),
        ({"height": 1.7}, r"height_cm \(--height\) is 1.7"),
        ({"group": "HCM"}, "give one of NOR, DCM"),
        ({"sbp": 130}, r"not conditioned on sbp_mmhg \(--sbp\); it knows age_years \(--age\), sex"),
        ({"smoker": "yes"}, "not conditioned on smoker"),
        ({"age": 60, "age_years": 61}, "given twice"),
    ],
)
def test_impossible_and_unknown_conditions_are_refused(told, given, words):
    with pytest.raises(ConfigError, match=words):
        read_conditions(told, given)
