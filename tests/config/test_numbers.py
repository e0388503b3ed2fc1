"""Values of options that mean nothing are refused before anything runs."""

from __future__ import annotations

import math

import pytest

from medreg.config.numbers import check_numbers, check_objective
from medreg.config.settings import read_settings
from medreg.errors import ConfigError
from medreg.losses.regularisation.diffusion import Diffusion
from medreg.losses.similarity.ncc import NCC

METRICS = ("dice", "hd95_mm", "tre_mm")


def test_nan_is_found_wherever_it_stands():
    with pytest.raises(ConfigError, match=r"model\.levels\.1\.sigma is nan"):
        check_numbers({"seed": 1, "model": {"levels": [{"sigma": 1.0}, {"sigma": math.nan}]}})
    used_twice = {"task": {"model": {"prior": {"weight": math.nan}}}, "prior": {"weight": math.nan}}
    with pytest.raises(ConfigError, match=r"^prior\.weight is nan"):  # the name that is typed
        check_numbers(used_twice)
    check_numbers({"a": math.inf, "b": "nan", "c": [None, 1]})


@pytest.mark.parametrize(
    ("objective", "message"),
    [("dicee", "objective=dicee.*Did you mean 'dice'"), (["dice", "hd95"], "objective=hd95.*'hd95_mm'")],
)
def test_a_misspelt_objective_is_refused(objective, message):
    with pytest.raises(ConfigError, match=message):
        check_objective(objective, METRICS)


def test_an_objective_of_the_users_own_is_taken():
    for objective in (None, "dice", ["dice", "my_own_measure"]):
        check_objective(objective, METRICS)


@pytest.mark.parametrize("weight", [-1, -1e-9, math.nan, math.inf])
def test_a_weight_that_rewards_or_is_no_number_is_refused(weight):
    with pytest.raises(ConfigError, match=r"regularisation\.weight is"):
        Diffusion(weight=weight)
    with pytest.raises(ConfigError, match=r"similarity\.weight is"):
        NCC(weight=weight)


def test_nan_in_a_preset_is_refused():
    with pytest.raises(ConfigError, match=r"model\.smoothing is nan"):
        read_settings("preset", "general", ["model.smoothing=.nan"], kind="preset")
