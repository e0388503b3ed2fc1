"""Values of options that mean nothing are refused before anything runs."""

from __future__ import annotations

import math

import pytest

from medreg.config.numbers import check_numbers, check_top_level
from medreg.config.settings import read_settings
from medreg.errors import ConfigError
from medreg.losses.regularisation.diffusion import Diffusion
from medreg.losses.similarity.ncc import NCC

METRICS = ("dice", "hd95_mm", "tre_mm")


def test_nan_is_found_wherever_it_stands():
    with pytest.raises(ConfigError, match=r"model\.levels\.1\.sigma is nan"):
        check_numbers({"seed": 1, "model": {"levels": [{"sigma": 1.0}, {"sigma": math.nan}]}})
    check_numbers({"a": math.inf, "b": "nan", "c": [None, 1]})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fresh": "maybe"}, "fresh=maybe: it must be true or false"),
        ({"report": 2}, "report=2"),
        ({"pictures": -1}, "pictures=-1: it must be a whole number, 0 or more"),
        ({"pictures": 1.5}, r"pictures=1\.5"),
        ({"pictures": True}, "pictures=True"),
        ({"objective": "dicee"}, "objective=dicee.*Did you mean 'dice'"),
        ({"objective": ["dice", "hd95"]}, "objective=hd95.*'hd95_mm'"),
    ],
)
def test_options_of_a_run_that_mean_nothing(options, message):
    with pytest.raises(ConfigError, match=message):
        check_top_level(options, METRICS)


def test_options_of_a_run_that_mean_something():
    check_top_level({"fresh": False, "report": True, "pictures": 0, "objective": None}, METRICS)
    check_top_level({"objective": ["dice", "my_own_measure"]}, METRICS)


@pytest.mark.parametrize("weight", [-1, -1e-9, math.nan, math.inf])
def test_a_weight_that_rewards_or_is_no_number_is_refused(weight):
    with pytest.raises(ConfigError, match=r"regularisation\.weight is"):
        Diffusion(weight=weight)
    with pytest.raises(ConfigError, match=r"similarity\.weight is"):
        NCC(weight=weight)


def test_nan_in_a_preset_is_refused():
    with pytest.raises(ConfigError, match=r"model\.smoothing is nan"):
        read_settings("preset", "general", ["model.smoothing=.nan"], kind="preset")
