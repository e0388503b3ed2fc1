"""Hearts made older by hand: a population whose ageing and whose second visits are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hearts_by_hand import measured, people

CENTRES = (47.5, 53.5, 58.5, 63.5, 68.5, 73.5, 79.0)  # years, of the age groups
SLOPE = -8.0  # mL of LVEDV a decade, as in `hearts_by_hand.EFFECTS`


def moved(frame, years, share):
    """Shift LVEDV and RVEDV by so many years of ageing."""
    step = share * np.asarray(years) / 10
    return frame.assign(lvedv_ml=frame["lvedv_ml"] + SLOPE * step, rvedv_ml=frame["rvedv_ml"] - 9.0 * step)


def ageing(seed=0, *, cases=120, share=1.0, noise=0.0, training=600, samples=20, width=1.0):
    """Real people seen twice, given back, brought to every group, and predicted for their second visit.

    Args:
        seed: of everything.
        cases: people.
        share: of the true ageing that the model shows.
        noise: mL by which the model's hearts differ from the person's own.
        training: real training hearts.
        samples: drawn predictions of the second visit.
        width: of their spread, 1 that of the truth.
    """
    generator = np.random.default_rng(seed)
    told = people(cases, generator).assign(age_years=generator.uniform(45, 70, cases))
    real = measured(told, generator).assign(case=[f"h{number:03d}" for number in range(cases)], sample=0)
    gap = generator.uniform(2, 15, cases)
    later = moved(real, gap, 1.0)
    later["lvedv_ml"] += generator.normal(0, 4, cases)
    later = later.assign(age_years=real["age_years"] + gap, gap_years=gap, source="later")

    def own(frame):
        return frame.assign(lvedv_ml=frame["lvedv_ml"] + noise * generator.standard_normal(len(frame)))

    back = own(real.assign(source="reconstructed"))
    parts = [real.assign(source="real"), later, back]
    for group, centre in enumerate(CENTRES):
        older = moved(own(real), centre - real["age_years"], share)
        parts.append(older.assign(source="aged", to_group=group, to_age_years=centre))
    best = moved(back, gap, share).assign(source="aged", gap_years=gap, to_age_years=real["age_years"] + gap)
    parts.append(best)
    for sample in range(1, samples + 1):
        drawn = best["lvedv_ml"] + width * generator.normal(0, 4, cases)
        parts.append(best.assign(sample=sample, lvedv_ml=drawn))
    known = measured(people(training, generator), generator).assign(source="real_training", sample=0)
    known["case"] = [f"t{number}" for number in range(training)]
    return pd.concat([*parts, known], ignore_index=True)
