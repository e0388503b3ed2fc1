"""Hearts for tests of metrics: evaluators, and a made population whose effects are known."""

from __future__ import annotations

import numpy as np
import pandas as pd

from medreg.metrics.hearts.evaluator import HeartEvaluator
from medreg.metrics.hearts.measures import MEASURES
from medreg.metrics.hearts.pooling import Pooling

LABELS = {"LV": 1, "MYO": 2, "RV": 4}
STEPS = {"age_years": 10.0, "sex": 1.0, "height_cm": 10.0, "weight_kg": 10.0, "sbp_mmhg": 18.0}
# mL or g per step: age, sex, height, weight, pressure
EFFECTS = {
    "lvedv_ml": (-8.0, 12.0, 10.0, 6.0, 7.0),
    "lvm_g": (0.0, 16.0, 4.0, 6.0, 6.0),
    "rvedv_ml": (-9.0, 25.0, 10.0, 6.0, 0.0),
}
NOISE = {"lvedv_ml": 15.0, "lvm_g": 8.0, "rvedv_ml": 15.0}


def pooling(**changed):
    known = {
        "steps": STEPS, "resamples": 100, "folds": 5, "repeats": 1, "trees": 20, "least": 5, "neighbours": 200,
        "long_gap_years": 10.0, "interval": 0.8, "seed": 1,
    }  # fmt: skip
    return Pooling(**{**known, **changed})


def evaluator(**changed):
    known = {"phases": "cycle", "surface": True, "surface_of_samples": True, "lost": "exclude"}
    return HeartEvaluator(LABELS, **{**known, "pooling": pooling(), **changed})


def people(count, generator):
    sex = generator.integers(0, 2, count).astype(float)
    return pd.DataFrame(
        {
            "age_years": generator.uniform(44, 82, count),
            "sex": sex,
            "height_cm": generator.normal(163 + 13 * sex, 6),
            "weight_kg": generator.normal(70 + 13 * sex, 11),
            "sbp_mmhg": generator.normal(133 + 8 * sex, 18),
        }
    )


def measured(frame, generator, *, share=1.0, spread=1.0):
    """Add measures that follow from the conditions: effects of `share` of the truth, noise of `spread`."""
    steps = (frame[list(STEPS)] - [60, 0, 165, 75, 135]) / list(STEPS.values())
    made = {}
    for name, effects in EFFECTS.items():
        base = {"lvedv_ml": 140.0, "lvm_g": 85.0, "rvedv_ml": 150.0}[name]
        told = steps.to_numpy() @ (np.array(effects) * share)
        made[name] = base + told + NOISE[name] * spread * generator.standard_normal(len(frame))
    ef = 60 + 3 * spread * generator.standard_normal((2, len(frame)))
    made["lvesv_ml"] = made["lvedv_ml"] * (1 - ef[0] / 100)
    made["rvesv_ml"] = made["rvedv_ml"] * (1 - ef[1] / 100)
    made["lvesm_g"] = made["lvm_g"] * 1.01
    for side, row in (("lv", ef[0]), ("rv", ef[1])):
        made[f"{side}sv_ml"] = made[f"{side}edv_ml"] - made[f"{side}esv_ml"]
        made[f"{side}ef_percent"] = row
        made[f"{side}co_l_min"] = made[f"{side}sv_ml"] * 0.06
    further = {"es_frame": 4.0, "largest_frame": 0.0, "wrap_ml": 1.0, "septal_angle_deg": -135.0}
    assert set(made) == set(MEASURES)
    return frame.assign(**made, **further)


def population(seed=0, *, cases=150, samples=10, training=800, **changed):
    """Real test and training hearts, and generated ones at the conditions of the test hearts."""
    generator = np.random.default_rng(seed)
    told = people(cases, generator)
    names = [f"h{number:04d}" for number in range(cases)]
    real = measured(told, generator).assign(case=names, source="real", sample=0)
    asked = pd.concat([told.assign(case=names, sample=number) for number in range(samples)])
    new = measured(asked, generator, **changed).assign(source="generated")
    known = measured(people(training, generator), generator).assign(source="real_training", sample=0)
    known["case"] = [f"t{number:04d}" for number in range(training)]
    return pd.concat([real, new, known], ignore_index=True)


def values(rows, metric):
    return {row.structure: row.value for row in rows if row.metric == metric}
