"""The embedding of conditions: PixelNorm as released, and what it takes away."""

from __future__ import annotations

import pytest
import torch
from beating_hearts import plain_conditions, scaled_conditions
from torch import nn

from medreg.errors import ConfigError
from medreg.models.hearts.mapping import Mapping, PixelNorm

PERSON = {"age_years": 60.0, "sex": 0.0, "height_cm": 165.0, "weight_kg": 70.0, "sbp_mmhg": 130.0}


def told(conditions, **changes):
    return conditions({name: torch.tensor([value]) for name, value in {**PERSON, **changes}.items()})


def above_average(conditions, deviations):
    """Someone so many standard deviations above the centre in height, weight and pressure."""
    return told(
        conditions,
        height_cm=169 + 9 * deviations,
        weight_kg=76 + 13 * deviations,
        sbp_mmhg=137 + 18 * deviations,
    )


def test_pixel_norm_by_hand():
    vector = torch.tensor([[3.0, 4.0]])
    expected = vector / (12.5 + 1e-5) ** 0.5
    torch.testing.assert_close(PixelNorm()(vector), expected)


def test_layers_are_those_of_the_release():
    """Eight linear layers of width 64: 5 → 64, six of 64 → 64, 64 → 32, PixelNorm after each."""
    mapping = Mapping(5, 32, hidden=64, layers=8, input_norm=True)
    kinds = [type(layer) for layer in mapping]
    assert kinds == [PixelNorm, *[nn.Linear, nn.ReLU, PixelNorm] * 7, nn.Linear, PixelNorm]
    linear = [layer for layer in mapping if isinstance(layer, nn.Linear)]
    assert [layer.in_features for layer in linear] == [5, *[64] * 7]
    assert sum(p.numel() for p in mapping.parameters()) == 384 + 6 * 4160 + 2080
    embedded = mapping(told(plain_conditions()))
    torch.testing.assert_close(embedded.square().mean(), torch.tensor(1.0), rtol=1e-3, atol=1e-3)


def test_without_input_norm_the_first_layer_sees_the_conditions():
    assert isinstance(Mapping(5, 32, hidden=64, layers=8, input_norm=False)[0], nn.Linear)


def test_sex_changes_the_input_in_both_encodings():
    for conditions, least in ((scaled_conditions(), 1.9), (plain_conditions(), 0.9)):
        difference = told(conditions, sex=1.0) - told(conditions, sex=0.0)
        assert float(difference.abs().max()) > least
        assert int(torch.count_nonzero(difference)) == 1


def test_pixel_norm_hides_sex_among_plain_numbers():
    """Height, weight and pressure dwarf the sex: it moves one number of the normalised input by a hundredth."""
    both = [PixelNorm()(told(plain_conditions(), sex=sex)) for sex in (0.0, 1.0)]
    assert float((both[1] - both[0]).abs().max()) < 0.012


def test_standard_units_tell_half_a_deviation_from_two():
    conditions, normalise = scaled_conditions(), PixelNorm()
    rest = torch.zeros(1, 5)
    rest[:, 2:] = 1.0  # height, weight and pressure alone
    half, two = (above_average(conditions, size) * rest for size in (0.5, 2.0))
    assert float((two - half).abs().min(1).values) >= 0
    assert float((two - half).abs().max()) == pytest.approx(1.5, abs=1e-4)
    torch.testing.assert_close(
        normalise(half), normalise(two), atol=1e-4, rtol=1e-4
    )  # what the norm takes away


def test_one_layer_is_refused():
    with pytest.raises(ConfigError, match=r"model\.mapping_layers"):
        Mapping(5, 32, hidden=64, layers=1, input_norm=False)
