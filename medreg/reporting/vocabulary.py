"""How metrics are called in print, and which direction is better."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

Better = Literal["higher", "lower", "neither"]
ARROWS: dict[Better, str] = {"higher": "↑", "lower": "↓", "neither": ""}
UNREGISTERED = "unregistered"


@dataclass(frozen=True)
class Metric:
    """The printed name of a metric, the better direction, and the decimals that mean something."""

    label: str
    better: Better
    decimals: int


PARTS = {"later": "later frames", "ed": "ED", "es": "ES"}  # of the cycle of a heart
OVERLAP: Mapping[str, tuple[str, Better, int]] = {
    "dice": ("Dice", "higher", 3), "hd": ("Hausdorff", "lower", 2), "assd": ("ASSD", "lower", 2),
}  # fmt: skip
HEARTS = {
    "dice_of_group": Metric("Dice of the group", "higher", 3),
    "largest_first_percent": Metric("largest at frame 0", "higher", 1),
    "largest_frame_percent": Metric("largest frame right", "higher", 1),
    "es_frame_percent": Metric("ES frame right", "higher", 1),
    "curve_error": Metric("error of the volume curve", "lower", 2),
    "curve_dtw": Metric("DTW of the volume curve", "lower", 1),
    "measure_error": Metric("error of the measure", "lower", 1),
    "measure_bias": Metric("bias of the measure", "neither", 1),
    "sample_sd_measure_error": Metric("error of the measure, SD over samples", "neither", 1),
    "sample_best_measure_error": Metric("error of the measure, best sample", "neither", 1),
    "sample_worst_measure_error": Metric("error of the measure, worst sample", "neither", 1),
    "sample_sd_measure_bias": Metric("bias of the measure, SD over samples", "neither", 1),
    "code_kl": Metric("divergence of the code", "neither", 2),
    "equivalent_beta": Metric("β*", "neither", 0),
    # Of all hearts together, the case `population`.
    "w1": Metric("W1", "lower", 1),
    "w1_sd": Metric("W1 in SD", "lower", 3),
    "w1_sd_all": Metric("W1 in SD, all real hearts", "lower", 3),
    "w1_sd_all_age_mean": Metric("W1 in SD, by age, all real", "lower", 3),
    "w1_sd_all_female": Metric("W1 in SD, women, all real", "lower", 3),
    "w1_sd_all_male": Metric("W1 in SD, men, all real", "lower", 3),
    "w1_sd_female": Metric("W1 in SD, women", "lower", 3),
    "w1_sd_male": Metric("W1 in SD, men", "lower", 3),
    "w1_sd_age_mean": Metric("W1 in SD, by age", "lower", 3),
    "w1_sd_floor": Metric("W1 in SD of real hearts", "neither", 3),
    "sd_ratio": Metric("SD, modelled / real", "neither", 2),
    "kl": Metric("KL", "lower", 3),
    "js": Metric("JS", "lower", 3),
    "bhattacharyya": Metric("Bhattacharyya", "lower", 3),
    "incomplete_percent": Metric("hearts without a structure", "lower", 1),
    "modelled_largest_first_percent": Metric("generated, largest at frame 0", "higher", 1),
    "modelled_es_frame_percent": Metric("generated, ES frame right", "higher", 1),
    "wrap_ratio": Metric("wrap-around, generated / real", "lower", 2),
    "two_sample_accuracy": Metric("two-sample accuracy", "lower", 3),
    "controllability": Metric("control, r of asked and measured", "higher", 3),
    "effect_sex_percent": Metric("effect of sex, % of real", "neither", 0),
    "effect_age_percent": Metric("effect of age, % of real", "neither", 0),
    "effect_height_percent": Metric("effect of height, % of real", "neither", 0),
    "effect_weight_percent": Metric("effect of weight, % of real", "neither", 0),
    "effect_sbp_percent": Metric("effect of pressure, % of real", "neither", 0),
    "difference_sex_percent": Metric("men − women, % of real", "neither", 0),
    "control_percent": Metric("effect that is null in truth, %", "neither", 1),
    "memorisation_ratio": Metric("nearest training heart, generated / held out", "neither", 2),
    "memorisation_against_held_out": Metric("nearest heart, training / held out", "neither", 2),
    "memorisation_copies_percent": Metric("nearer than any held-out heart", "lower", 1),
    "ageing_slope_female_percent": Metric("ageing of women, % of real", "neither", 0),
    "ageing_slope_male_percent": Metric("ageing of men, % of real", "neither", 0),
    "ageing_change_female_percent": Metric("change of women, first to last group", "neither", 1),
    "ageing_change_male_percent": Metric("change of men, first to last group", "neither", 1),
    "ageing_inversions_female": Metric("steps against the change, women", "lower", 0),
    "ageing_inversions_male": Metric("steps against the change, men", "lower", 0),
    "identity_r_female": Metric("identity of women, r", "higher", 3),
    "identity_r_male": Metric("identity of men, r", "higher", 3),
    "reconstruction_r_female": Metric("heart given back, women, r", "higher", 3),
    "reconstruction_r_male": Metric("heart given back, men, r", "higher", 3),
    "septal_turn_deg": Metric("turn of the septum", "lower", 1),
    "judge_spearman": Metric("age seen by the judge, Spearman", "higher", 3),
    "judge_within_one_percent_aged": Metric("judge right within a group, aged", "neither", 1),
    "judge_within_one_percent_real": Metric("judge right within a group, real", "neither", 1),
    "visit_bias": Metric("bias of the change", "neither", 1),
    "visit_bias_long": Metric("bias of the change, long gaps", "neither", 1),
    "visit_bias_long_female": Metric("bias of the change, long gaps, women", "neither", 1),
    "visit_bias_long_male": Metric("bias of the change, long gaps, men", "neither", 1),
    "visit_mae": Metric("error of the change", "lower", 1),
    "visit_mae_long": Metric("error of the change, long gaps", "lower", 1),
    "visit_r": Metric("r of the change", "higher", 3),
    "visit_change_male": Metric("predicted change of men", "neither", 1),
    "visit_change_real_male": Metric("change of men", "neither", 1),
    "no_change_bias_long_female": Metric("bias of no change, long gaps, women", "neither", 1),
    "no_change_bias_long_male": Metric("bias of no change, long gaps, men", "neither", 1),
    "interval_coverage_percent": Metric("coverage of the interval", "neither", 1),
}


def _hearts() -> Iterator[tuple[str, Metric]]:
    """Yield the metrics of hearts: of parts of the cycle, of drawn hearts, of all hearts together."""
    for score, (label, better, decimals) in OVERLAP.items():
        unit = "" if score == "dice" else "_mm"
        for part, words in PARTS.items():
            yield f"{score}_{part}{unit}", Metric(f"{label}, {words}", better, decimals)
        for end, words in (("sd", "SD over samples"), ("best", "best sample"), ("worst", "worst sample")):
            yield f"sample_{end}_{score}{unit}", Metric(f"{label}, {words}", "neither", decimals)
    yield from HEARTS.items()


METRICS = {
    "dice": Metric("Dice", "higher", 3),
    "iou": Metric("IoU", "higher", 3),
    "hd95_mm": Metric("HD95", "lower", 2),
    "hd_mm": Metric("Hausdorff", "lower", 2),
    "assd_mm": Metric("ASSD", "lower", 2),
    "itk_avg_hd_mm": Metric("average Hausdorff (ITK)", "lower", 2),
    "lost_structures": Metric("lost structures", "lower", 2),
    "invented_structures": Metric("invented structures", "lower", 2),
    "unmatched_slices": Metric("unmatched slices", "lower", 1),
    "cut_percent": Metric("cut off by the crop", "neither", 1),
    "tre_mm": Metric("TRE", "lower", 2),
    "tre_more_mm": Metric("TRE, further points", "lower", 2),
    "tre_max_mm": Metric("largest TRE", "lower", 2),
    "tre_lm_linear_mm": Metric("TRE, linear interpolation", "lower", 2),
    "epe_mm": Metric("EPE", "lower", 2),
    "folding_percent": Metric("folds", "lower", 3),
    "sd_log_jacobian": Metric("SD log J", "lower", 3),
    "ndv_percent": Metric("non-diffeomorphic volume", "lower", 3),
    "folding_voxels": Metric("folded voxels", "lower", 0),
    "mag_grad_det_j": Metric("|∇ det J|", "lower", 3),
    "largest_deformation_mm": Metric("largest displacement", "neither", 2),
    "distance_l1_mm": Metric("error of the distance", "lower", 2),
    "distance_pearson": Metric("correlation with the distance", "higher", 3),
    "rotation_bias": Metric("rotation, bias", "lower", 1),
    "rotation_far_field": Metric("rotation, far field", "higher", 2),
    "rotation_spearman": Metric("rotation, monotony", "higher", 3),
    "translation_bias": Metric("translation, bias", "lower", 2),
    "translation_far_field": Metric("translation, far field", "higher", 2),
    "translation_spearman": Metric("translation, monotony", "higher", 3),
    "volume_error_ml": Metric("volume error", "lower", 2),
    "volume_ml": Metric("volume", "neither", 1),
    "image_correlation": Metric("image correlation", "higher", 3),
    "rmse_image": Metric("image RMSE", "lower", 4),
    "displacement_sd_mm": Metric("SD of the displacement", "neither", 2),
    "displacement_sd_max_mm": Metric("largest SD of the displacement", "neither", 2),
    "sample_dice": Metric("Dice of the samples", "higher", 3),
    "sample_dice_low": Metric("Dice of the samples, 2.5 %", "higher", 3),
    "sample_dice_high": Metric("Dice of the samples, 97.5 %", "higher", 3),
    "sample_volume_ml": Metric("volume in the samples", "neither", 1),
    "sample_volume_low_ml": Metric("volume in the samples, 2.5 %", "neither", 1),
    "sample_volume_high_ml": Metric("volume in the samples, 97.5 %", "neither", 1),
    "sample_folding_percent": Metric("folds in the samples", "lower", 3),
    "sample_folding_max_percent": Metric("folds in the worst sample", "lower", 3),
    "calibration_error": Metric("calibration error", "lower", 3),
    "calibration_error_ranks": Metric("calibration error, ranks", "lower", 3),
    "coverage_bias": Metric("coverage − level", "neither", 3),
    "coverage_50_percent": Metric("coverage of 50 %", "neither", 1),
    "coverage_90_percent": Metric("coverage of 90 %", "neither", 1),
    "z_mean": Metric("mean z", "neither", 3),
    "z_rms": Metric("RMS z", "neither", 2),
    "zero_sd_percent": Metric("SD of zero", "lower", 1),
    "nees": Metric("NEES", "neither", 2),
    "rank_deviation": Metric("ranks off uniform", "lower", 3),
    "sharpness_mm": Metric("mean SD", "neither", 3),
    "crps_mm": Metric("CRPS", "lower", 3),
    "crps_samples_mm": Metric("CRPS of the samples", "lower", 3),
    "ause": Metric("AUSE", "lower", 3),
    "ause_random": Metric("AUSE, chance", "neither", 3),
    "spearman_sd_error": Metric("Spearman, SD and error", "higher", 3),
    "label_ece": Metric("ECE of label probabilities", "lower", 3),
    "label_ece_top": Metric("ECE of the likeliest label", "lower", 3),
    "label_ece_adaptive": Metric("ECE, equal-mass bins", "lower", 3),
    "label_mce": Metric("MCE", "lower", 3),
    "label_brier": Metric("Brier", "lower", 3),
    "label_nll": Metric("NLL of labels", "lower", 3),
    "label_entropy": Metric("entropy of labels", "neither", 3),
    "auroc_sd": Metric("AUROC, SD finds errors", "higher", 3),
    "auroc_random": Metric("AUROC, random map", "neither", 3),
    "auroc_gradient": Metric("AUROC, image gradient", "neither", 3),
    "r_hat_max": Metric("largest R-hat", "lower", 3),
    "ess_min": Metric("smallest ESS", "higher", 0),
    "samples": Metric("samples", "neither", 0),
    "samples_per_second": Metric("samples per second", "higher", 1),
    **dict(_hearts()),
    "time_s": Metric("time", "lower", 3),
    "cpu_s": Metric("CPU time", "lower", 2),
    "peak_memory_mib": Metric("peak memory", "lower", 0),
}
# Rows beside those of the whole cycle, of the mean over samples, or of quantities of different kinds: not in a summary.
DETAILS = frozenset(
    {name for name, _ in _hearts() if name.startswith(("sample_", "dice_", "hd_", "assd_"))}
    | {"measure_error", "measure_bias", "curve_error", "curve_dtw"}
)
# What every table shows first; everything else follows in alphabetical order.
ORDER = tuple(METRICS)
# Ends of credible intervals: rows beside that of the mean, without a plot of their own.
INTERVAL_ENDS = DETAILS | {
    "sample_dice_low", "sample_dice_high", "sample_volume_low_ml", "sample_volume_high_ml",
}  # fmt: skip
# Not a property of the alignment: shown, but no best and no test, since doing nothing always wins.
COST = frozenset({
    "lost_structures", "folding_percent", "folding_voxels", "ndv_percent", "sd_log_jacobian", "mag_grad_det_j",
    "time_s", "cpu_s", "peak_memory_mib", "sample_folding_percent",
    "sample_folding_max_percent", "samples_per_second",
})  # fmt: skip
# Counts of what went missing, which a table shows only where something did.
LOSSES = frozenset({"lost_structures", "invented_structures", "unmatched_slices", "cut_percent"})


def describe(metric: str) -> Metric:
    """The printed form of a metric; an unknown one keeps its own name and has no better direction."""
    return METRICS.get(metric, Metric(metric.replace("_", " "), "neither", 3))


def heading(metric: str, unit: str) -> str:
    """Name, unit and arrow, such as "HD95 (mm) ↓"."""
    known = describe(metric)
    return titled(known.label, unit, known.better)


def titled(label: str, unit: str, better: Better) -> str:
    """A label with unit and arrow, as `heading`."""
    shown = "" if unit in ("", "1", "-", "none") else f" ({unit})"
    return f"{label}{shown} {ARROWS[better]}".strip()


def in_order(metrics: set[str]) -> list[str]:
    """Metrics in the order in which they are printed."""
    return sorted(metrics, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))
