"""Rows of one case: volumes, stacks, missing parts, the authors' variants, refusals."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from medreg.errors import ConfigError, DataError, NumericalError
from medreg.metrics.evaluator import CaseEvaluator, MetricRow
from medreg.metrics.surface import surface_distances

CARDIAC = {"RV": 1, "MYO": 2, "LV": 3}


def table(rows):
    """(structure, metric) → value."""
    assert len({(row.structure, row.metric) for row in rows}) == len(rows)
    return {(row.structure, row.metric): row.value for row in rows}


def nested_squares(offset=0, shape=(24, 22)):
    labels = torch.zeros(1, 1, *shape, dtype=torch.int64)
    labels[..., 4 + offset : 16 + offset, 4:18] = 2
    labels[..., 6 + offset : 14 + offset, 6:16] = 3
    labels[..., 4 + offset : 16 + offset, 18:21] = 1
    return labels


def shifted_case(shift=2, **extra):
    """A slice whose moving image is the fixed one, further down by `shift`; u = (shift, 0) aligns them."""
    fixed, moving = nested_squares(), nested_squares(shift)
    batch = {
        "fixed_image": fixed / 3,
        "moving_image": moving / 3,
        "fixed_label": fixed,
        "moving_label": moving,
        "spacing_mm": torch.tensor([[1.5, 2.0]]),
        "case": ["patient001"],
        **extra,
    }
    displacement = torch.zeros(1, 2, *fixed.shape[2:])
    displacement[:, 0] = shift
    return batch, displacement


def stack(*cases):
    """Slices of one case: the cases' tensors behind one another."""
    batches = [batch for batch, _ in cases]
    joined = {
        key: torch.cat([batch[key] for batch in batches])
        if isinstance(value, torch.Tensor)
        else [name for batch in batches for name in batch[key]]
        for key, value in batches[0].items()
    }
    return joined, torch.cat([field for _, field in cases])


def test_right_displacement_aligns_everything():
    batch, displacement = shifted_case()
    found = table(CaseEvaluator(CARDIAC)(batch, displacement))
    for structure in (*CARDIAC, "mean"):
        assert found[structure, "dice"] == 1
        assert found[structure, "hd95_mm"] == 0
        assert found[structure, "assd_mm"] == 0
    assert found["all", "rmse_image"] == pytest.approx(0, abs=1e-6)
    assert found["all", "folding_percent"] == 0
    assert found["all", "sd_log_jacobian"] == pytest.approx(0, abs=1e-6)


def test_unregistered_state_has_the_values_computed_by_hand():
    batch, displacement = shifted_case()
    found = table(CaseEvaluator(CARDIAC)(batch, torch.zeros_like(displacement)))
    assert found["LV", "dice"] == pytest.approx(2 * 60 / 160)
    assert found["RV", "dice"] == pytest.approx(2 * 30 / 72)
    dices = [found[name, "dice"] for name in CARDIAC]
    assert found["mean", "dice"] == pytest.approx(np.mean(dices))
    masks = [(batch[key] == 3)[0, 0].numpy() for key in ("fixed_label", "moving_label")]
    expected = surface_distances(*masks, spacing_mm=(1.5, 2.0))
    assert found["LV", "hd95_mm"] == pytest.approx(expected.hd95_mm)
    assert found["LV", "assd_mm"] == pytest.approx(expected.assd_mm)
    difference = (batch["fixed_image"] - batch["moving_image"]).square().mean().sqrt().item()
    assert found["all", "rmse_image"] == pytest.approx(difference, rel=1e-5)


def test_swapped_codes_give_the_swapped_structures():
    batch, displacement = shifted_case()
    zero = torch.zeros_like(displacement)
    right = table(CaseEvaluator(CARDIAC)(batch, zero))
    swapped = table(CaseEvaluator({"LV": 1, "MYO": 2, "RV": 3})(batch, zero))
    assert right["LV", "dice"] != right["RV", "dice"]
    assert swapped["LV", "dice"] == right["RV", "dice"]
    assert swapped["RV", "hd95_mm"] == right["LV", "hd95_mm"]


def test_rows_are_frozen_and_carry_units():
    batch, displacement = shifted_case()
    rows = CaseEvaluator(CARDIAC)(batch, displacement)
    units = {row.metric: row.unit for row in rows}
    assert units == {
        "dice": "1",
        "lost_structures": "1",
        "hd95_mm": "mm",
        "assd_mm": "mm",
        "folding_percent": "%",
        "sd_log_jacobian": "1",
        "mag_grad_det_j": "1/voxel",
        "rmse_image": "intensity",
    }
    assert all(type(row.value) is float for row in rows)
    with pytest.raises(dataclasses.FrozenInstanceError):
        rows[0].value = 1.0
    assert rows[0] == MetricRow("RV", "dice", 1.0, "1")


def test_volume_with_truth_mask_and_landmarks():
    shape = (10, 9, 8)
    truth = torch.zeros(1, 3, *shape)
    truth[:, 2] = 1.0
    mask = torch.zeros(1, 1, *shape, dtype=torch.uint8)
    mask[..., 3:7, 3:7, 3:7] = 1
    estimate = truth.clone()
    estimate[:, :, :2] += 100.0  # far off, but outside the mask
    points = torch.tensor([[[4.0, 4.0, 4.0], [5.0, 5.0, 5.0]]])
    moving_points = points + torch.tensor([0.0, 0.0, 1.0]) + torch.tensor([[[0.0, 0, 0], [1.0, 0, 0]]])
    batch = {
        "fixed_mask": mask,
        "displacement": truth,
        "fixed_keypoints": points,
        "moving_keypoints": moving_points,
        "spacing_mm": torch.tensor([[2.0, 1.0, 1.0]]),
    }
    found = table(CaseEvaluator({})(batch, estimate))
    assert found["all", "epe_mm"] == pytest.approx(0, abs=1e-6)
    assert found["all", "tre_mm"] == pytest.approx((0 + 2) / 2, abs=1e-6)
    assert {metric for _, metric in found} == {
        "epe_mm",
        "tre_mm",
        "folding_percent",
        "sd_log_jacobian",
        "mag_grad_det_j",
    }


def test_masked_evaluation_ignores_folds_outside_the_body():
    batch, displacement = shifted_case(fixed_mask=(nested_squares() > 0).to(torch.uint8))
    displacement[:, 0, 20:] = -torch.arange(4.0)[:, None] * 3
    assert table(CaseEvaluator(CARDIAC)(batch, displacement))["all", "folding_percent"] > 0
    assert table(CaseEvaluator(CARDIAC, masked=True)(batch, displacement))["all", "folding_percent"] == 0


def test_stack_pools_dice_and_averages_surfaces_over_slices_with_both():
    aligned, still = shifted_case(0), shifted_case(2)
    without_moving = shifted_case(0)
    without_moving[0]["moving_label"] = torch.zeros_like(without_moving[0]["moving_label"])
    batch, displacement = stack(aligned, still, without_moving)
    found = table(CaseEvaluator(CARDIAC)(batch, torch.zeros_like(displacement)))
    assert found["LV", "dice"] == pytest.approx(2 * (80 + 60) / (3 * 80 + 2 * 80))
    single = table(CaseEvaluator(CARDIAC)(still[0], torch.zeros_like(still[1])))
    assert found["LV", "assd_mm"] == pytest.approx((0 + single["LV", "assd_mm"]) / 2)
    per_slice = table(CaseEvaluator(CARDIAC, dice="per_slice")(batch, torch.zeros_like(displacement)))
    assert per_slice["LV", "dice"] == pytest.approx((1 + 0.75) / 2)
    pooled = (0 + single["all", "rmse_image"] ** 2 + 0) / 3
    assert found["all", "rmse_image"] == pytest.approx(pooled**0.5, rel=1e-5)


def test_structure_lost_or_never_drawn_leaves_the_mean_honest():
    batch, displacement = shifted_case(0)
    lost = displacement.clone()
    lost[:, 0] = 100.0
    labels = {**CARDIAC, "never drawn": 9}
    zero = table(CaseEvaluator(labels)(batch, lost))
    assert zero["LV", "dice"] == 0
    assert zero["mean", "dice"] == 0
    assert math.isnan(zero["never drawn", "dice"])
    diagonal = math.hypot(24 * 1.5, 22 * 2.0)  # of the slice
    for metric in ("hd95_mm", "assd_mm"):
        assert zero["LV", metric] == zero["mean", metric] == pytest.approx(diagonal)
        assert math.isnan(zero["never drawn", metric])
    assert zero["all", "lost_structures"] == 3
    skip = table(CaseEvaluator(labels, vanished="skip")(batch, lost))
    assert math.isnan(skip["LV", "dice"])
    assert math.isnan(skip["mean", "hd95_mm"])
    assert skip["all", "lost_structures"] == 3


def two_cubes():
    labels = torch.zeros(1, 1, 20, 20, 20, dtype=torch.int32)
    labels[..., 2:8, 2:8, 2:8] = 1
    labels[..., 12:18, 12:18, 12:18] = 2
    return labels


@pytest.mark.parametrize("definition", ["assd", "area", "itk_avg_hd"])
def test_losing_half_of_the_structures_never_improves_a_distance(definition):
    labels = two_cubes()
    batch = {
        "fixed_label": labels,
        "moving_label": labels.clone(),
        "spacing_mm": torch.tensor([[1.0, 2.0, 3.0]]),
    }
    still = torch.zeros(1, 3, 20, 20, 20)
    lost = still.clone()
    lost[:, 0, 10:, 10:, 10:] = -9.0  # background
    evaluator = CaseEvaluator({"one": 1, "two": 2}, surface_definition=definition)
    kept, gone = table(evaluator(batch, still)), table(evaluator(batch, lost))
    first = {"itk_avg_hd": "hd_mm"}.get(definition, "hd95_mm")
    assert kept["all", "lost_structures"] == 0
    assert kept["mean", first] == 0
    assert gone["all", "lost_structures"] == 1
    assert gone["mean", "dice"] == 0.5
    assert gone["one", first] == 0
    assert gone["two", first] == pytest.approx(20 * math.sqrt(14))
    assert gone["mean", first] == pytest.approx(20 * math.sqrt(14) / 2)


def test_a_structure_lost_in_one_slice_of_a_stack_counts_there():
    batch, displacement = stack(shifted_case(0), shifted_case(0))
    displacement[1, 0] = 100.0
    found = table(CaseEvaluator(CARDIAC)(batch, displacement))
    assert found["all", "lost_structures"] == 3
    assert found["LV", "hd95_mm"] == pytest.approx(math.hypot(24 * 1.5, 22 * 2.0) / 2)


def test_structures_in_no_common_slice_have_no_distance_to_flatter_them():
    first, second = shifted_case(0), shifted_case(0)
    first[0]["moving_label"] = torch.zeros_like(first[0]["moving_label"])
    second[0]["fixed_label"] = torch.zeros_like(second[0]["fixed_label"])
    batch, displacement = stack(first, second)
    found = table(CaseEvaluator(CARDIAC)(batch, displacement))
    assert found["mean", "dice"] == 0
    assert found["mean", "hd95_mm"] == pytest.approx(math.hypot(24 * 1.5, 22 * 2.0))


def test_authors_variants_differ_as_documented():
    batch, displacement = shifted_case(2)
    zero = torch.zeros_like(displacement)
    itk = table(CaseEvaluator(CARDIAC, surface_definition="itk_avg_hd")(batch, zero))
    assert itk["LV", "hd_mm"] == pytest.approx(2 * 1.5)
    assert itk["LV", "itk_avg_hd_mm"] == pytest.approx((3 + 1.5) * 10 / 80)
    assert ("LV", "assd_mm") not in itk
    inverted = table(CaseEvaluator(CARDIAC, surface_definition="itk_avg_hd", spacing="authors")(batch, zero))
    assert inverted["LV", "hd_mm"] == pytest.approx(2 / 1.5)
    fold = zero.clone()
    fold[:, 0] = -1.5 * torch.arange(fold.shape[2])[:, None]
    assert table(CaseEvaluator({})(batch, fold))["all", "folding_percent"] == 100
    authors = table(CaseEvaluator({}, jacobian="authors")(batch, fold))
    assert authors["all", "folding_percent"] < 20


def test_authors_nearest_convention_misreads_a_fractional_shift():
    batch, displacement = shifted_case(0)
    displacement[:, 0] = 0.45
    assert table(CaseEvaluator(CARDIAC)(batch, displacement))["mean", "dice"] == 1
    legacy = table(CaseEvaluator(CARDIAC, convention="authors")(batch, displacement))
    assert legacy["mean", "dice"] < 1


def test_image_padding_decides_what_lies_outside():
    image = torch.ones(1, 1, 8, 8)
    batch = {"fixed_image": image, "moving_image": image}
    displacement = torch.full((1, 2, 8, 8), 20.0)
    assert table(CaseEvaluator({})(batch, displacement))["all", "rmse_image"] == pytest.approx(0)
    zeros = CaseEvaluator({}, image_padding="zeros")(batch, displacement)
    assert table(zeros)["all", "rmse_image"] == pytest.approx(1)


def test_given_warped_image_is_used_as_it_is():
    batch, displacement = shifted_case(2)
    rows = CaseEvaluator({})(batch, displacement, warped_image=batch["fixed_image"] + 0.5)
    assert table(rows)["all", "rmse_image"] == pytest.approx(0.5)


def test_surfaces_can_be_left_out():
    batch, displacement = shifted_case()
    metrics = {row.metric for row in CaseEvaluator(CARDIAC, surface=False)(batch, displacement)}
    assert "dice" in metrics
    assert not {"hd95_mm", "assd_mm"} & metrics


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_broken_displacement_names_the_case_and_the_remedy(value):
    batch, displacement = shifted_case()
    displacement[0, 0, 0, 0] = value
    with pytest.raises(NumericalError, match=r"patient001 holds NaN or infinity in 1 of .*optimiser\.lr"):
        CaseEvaluator(CARDIAC)(batch, displacement)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_precision_and_inference_mode_are_accepted(dtype):
    batch, displacement = shifted_case(displacement=shifted_case()[1])
    with torch.inference_mode():
        found = table(CaseEvaluator(CARDIAC)(batch, displacement.to(dtype)))
    assert found["mean", "dice"] == 1


def test_more_than_one_case_is_refused():
    batch, displacement = stack(shifted_case(), shifted_case())
    batch["case"] = ["a", "b"]
    with pytest.raises(DataError, match="batch_size=1"):
        CaseEvaluator(CARDIAC)(batch, displacement)
    with pytest.raises(DataError, match="2 volumes"):
        CaseEvaluator({})({}, torch.zeros(2, 3, 4, 4, 4))


def test_field_off_the_fixed_grid_is_refused():
    batch, _ = shifted_case()
    with pytest.raises(DataError, match=r"patient001: fixed_image .*fixed grid"):
        CaseEvaluator(CARDIAC)(batch, torch.zeros(1, 2, 8, 8))


def test_missing_spacing_is_said():
    batch, displacement = shifted_case()
    del batch["spacing_mm"]
    with pytest.raises(DataError, match="spacing_mm"):
        CaseEvaluator(CARDIAC)(batch, displacement)


@pytest.mark.parametrize(
    "option", ["jacobian", "surface_definition", "vanished", "dice", "spacing", "convention", "image_padding"]
)
def test_unknown_variant_is_refused_at_construction(option):
    with pytest.raises(ConfigError, match=f"{option}='wrong'"):
        CaseEvaluator(CARDIAC, **{option: "wrong"})


def test_shared_codes_are_refused_at_construction():
    with pytest.raises(ConfigError, match="same label code"):
        CaseEvaluator({"LV": 1, "RV": 1})
