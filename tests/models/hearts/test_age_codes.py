"""The code of age and sex that the ageing heart is told."""

from __future__ import annotations

import pytest
import torch
from small_ageing import codes, small_ageheart

from medreg.errors import ConfigError
from medreg.models.hearts.age_codes import AgeCode, SexCode, group_years
from medreg.models.hearts.condition import Number, age_group


def test_age_groups_of_the_release():
    years = torch.tensor([45.0, 50, 51, 55, 56, 75, 76, 90])
    assert age_group(years).tolist() == [0, 0, 1, 1, 2, 5, 6, 6]


def test_the_middle_of_a_group_lies_in_it():
    groups = torch.arange(7)
    assert age_group(group_years(groups)).tolist() == groups.tolist()
    assert float(group_years(torch.tensor(3))) == 63.5


def test_the_plain_code_of_13_numbers():
    told = {"age_years": torch.tensor([45.0, 63.0]), "sex": torch.tensor([0.0, 1.0])}
    label = codes()(told)
    assert label.shape == (2, 13)
    assert label[0, :7].tolist() == [1, -1, -1, -1, -1, -1, -1]
    assert label[1, :7].tolist() == [-1, -1, -1, 1, -1, -1, -1]
    assert label[0, 7:].tolist() == [1, -1] * 3  # female: the place of the 1 is the number of the sex
    assert label[1, 7:].tolist() == [-1, 1] * 3


def test_what_is_unknown_is_told_by_zeros():
    unknown = torch.tensor([torch.nan])
    assert not AgeCode(noise_sd=0.0).encode(unknown).any()
    assert not AgeCode(noise_sd=0.2).encode(unknown).any()
    assert not SexCode(repeats=3).encode(unknown).any()


def test_the_noisy_code_has_the_mean_of_the_ones_and_the_asked_spread():
    model = small_ageheart(conditions=codes(noise_sd=0.2))
    told = {"age_years": torch.full((4000,), 63.0), "sex": torch.ones(4000)}
    label = model.label(told, generator=torch.Generator().manual_seed(0))
    assert label[:, :7].mean(0).tolist() == pytest.approx([0, 0, 0, 1, 0, 0, 0], abs=0.02)
    assert label[:, :7].std(0).tolist() == pytest.approx([0.2] * 7, rel=0.06)
    assert (label[:, 7:] == torch.tensor([-1.0, 1.0] * 3)).all()
    assert torch.equal(
        model.label(told)[0, :7], torch.tensor([0.0, 0, 0, 1, 0, 0, 0])
    )  # evaluation: no noise


def test_further_conditions_are_appended_as_they_are_scaled():
    height = Number(centre=169.0, scale=18.0, least=100.0, greatest=230.0, unit="cm")
    label = codes(height_cm=height)(
        {"age_years": torch.tensor([45.0]), "sex": torch.tensor([0.0]), "height_cm": torch.tensor([178.0])}
    )
    assert label.shape == (1, 14)
    assert float(label[0, 13]) == 0.5


def test_impossible_options_and_people_are_refused():
    with pytest.raises(ConfigError, match=r"conditions.age_years.noise_sd is -0.1"):
        AgeCode(noise_sd=-0.1)
    with pytest.raises(ConfigError, match=r"conditions.sex.repeats is 0"):
        SexCode(repeats=0)
    with pytest.raises(ConfigError, match=r"age_years is -3"):
        codes().read({"age_years": -3})
    with pytest.raises(ConfigError, match=r"give F \(female\) or M \(male\)"):
        codes().read({"sex": "X"})
