"""Hearts of ellipsoids over a cycle, and the folder of a run that has made some, for tests of reports and pictures."""

from __future__ import annotations

import numpy as np

SPACING = (5.0, 5.0, 8.0)


def made_heart(frames=10, size=(32, 32, 16), spacing=SPACING, *, scale=1.0, shift=(0.0, 0.0), ejection=0.62):
    """(T, X, Y, Z) uint8: a left ventricle in its wall, and a right one beside it, that contract and relax."""
    axes = np.meshgrid(*(np.arange(n) * mm for n, mm in zip(size, spacing, strict=True)), indexing="ij")
    centre = np.array(size) * spacing / 2
    x, y, z = axes[0] - centre[0] - shift[0], axes[1] - centre[1] - shift[1], axes[2] - centre[2]
    heart = np.zeros((frames, *size), np.uint8)
    for t in range(frames):
        phase = np.sin(np.pi * t / frames) ** 2 if frames > 2 else float(t)
        radius = 24.0 * scale * (1 - (1 - np.sqrt(1 - ejection * 0.85)) * phase)
        wall = (radius**3 + (35.0 * scale) ** 3 - (24.0 * scale) ** 3) ** (1 / 3)
        below = z < 34.0 * scale
        left = (x / radius) ** 2 + (y / radius) ** 2 + (z / (44 * scale)) ** 2 < 1
        muscle = (x / wall) ** 2 + (y / wall) ** 2 + (z / (54 * scale)) ** 2 < 1
        out = 14 * scale
        right = ((x + out + radius) / (1.45 * radius)) ** 2 + ((y + out + radius) / (1.45 * radius)) ** 2
        right = right + (z / (46 * scale)) ** 2 < 1
        heart[t][right & below] = 3
        heart[t][muscle & below] = 2
        heart[t][left & below] = 1
    return heart


def made_people(count, seed=0):
    """Covariates of so many people, a dictionary of arrays."""
    draw = np.random.default_rng(seed)
    sex = draw.integers(0, 2, count)
    height = draw.normal(163, 6, count) + 13 * sex
    return {
        "age_years": draw.uniform(42, 80, count),
        "sex": sex.astype(float),
        "height_cm": height,
        "weight_kg": 22 * (height / 100) ** 2 * draw.lognormal(0, 0.12, count),
        "sbp_mmhg": draw.normal(135, 16, count),
    }


def made_measures(people, seed=1, *, effect=1.0, noise=12.0):
    """Clinical measures of people: larger in men, smaller with age."""
    draw = np.random.default_rng(seed)
    count = len(people["sex"])
    old = effect * (people["age_years"] - 60)
    lvedv = 128 + 30 * effect * people["sex"] - 0.7 * old + draw.normal(0, noise, count)
    lvesv = 0.42 * lvedv + draw.normal(0, 4, count)
    rvedv = 1.1 * lvedv + draw.normal(0, 8, count)
    rvesv = 0.45 * rvedv + draw.normal(0, 5, count)
    lvm = 72 + 32 * effect * people["sex"] + draw.normal(0, 9, count)
    return {
        "lvedv_ml": lvedv, "lvesv_ml": lvesv, "lvm_g": lvm, "lvesm_g": lvm, "rvedv_ml": rvedv, "rvesv_ml": rvesv,
        "lvsv_ml": lvedv - lvesv, "rvsv_ml": rvedv - rvesv, "lvef_percent": 100 * (1 - lvesv / lvedv),
        "rvef_percent": 100 * (1 - rvesv / rvedv), "lvco_l_min": 0.06 * (lvedv - lvesv),
        "rvco_l_min": 0.06 * (rvedv - rvesv),
    }  # fmt: skip


def write_hearts(folder, *, count=60, samples=4, frames=10, seed=0, effect=1.0):
    """Write what an evaluation of a model of sequences leaves: measures.csv, curves.csv, two cases, two extremes."""
    import pandas as pd

    folder.mkdir(parents=True, exist_ok=True)
    people = made_people(count, seed)
    names = [f"heart_{k:03d}" for k in range(count)]
    blocks = [
        pd.DataFrame({"case": names, "source": "real", "sample": 0, **people, **made_measures(people, 1)})
    ]
    for source, copies in (("completed", 1), ("generated", samples)):
        for sample in range(copies):
            own = made_measures(people, 10 + sample, effect=effect if source == "generated" else 1.0)
            told = {"case": names, "source": source, "sample": sample}
            blocks.append(pd.DataFrame({**told, **people, **own}))
    table = pd.concat(blocks, ignore_index=True)
    table.to_csv(folder / "measures.csv", index=False)
    if frames > 2:
        _write_curves(folder / "curves.csv", table, frames)
    (folder / "cases").mkdir(exist_ok=True)
    for k in range(2):
        np.savez_compressed(folder / "cases" / f"heart_{k:03d}.npz", **made_case(frames, k))
    (folder / "extremes").mkdir(exist_ok=True)
    for name, score in (("best", 0.95), ("worst", 0.7)):
        known = {"case": np.array("heart_000"), "score": np.array(score), "metric": np.array("dice")}
        np.savez_compressed(folder / "extremes" / f"{name}.npz", **made_case(frames, 0), **known)
    return table


def made_case(frames=10, place=0):
    """Arrays of a case as the callbacks keep them."""
    return {
        "label": made_heart(frames, scale=0.95 + 0.05 * place),
        "completed": made_heart(frames, scale=0.92 + 0.05 * place, shift=(3.0, 1.0)),
        "generated": made_heart(frames, scale=1.1, shift=(-8.0, 5.0)),
        "spacing_mm": np.array(SPACING),
    }


def _write_curves(file, table, frames):
    import pandas as pd

    phase = np.sin(np.pi * np.arange(frames) / frames) ** 2
    rows = []
    for row in table.to_dict("records"):
        for structure, first, last in (("LV", "lvedv_ml", "lvesv_ml"), ("RV", "rvedv_ml", "rvesv_ml")):
            values = row[first] + (row[last] - row[first]) * phase
            told = {name: row[name] for name in ("case", "source", "sample")}
            rows.append({**told, "structure": structure} | {f"frame_{t}": v for t, v in enumerate(values)})
    pd.DataFrame(rows).to_csv(file, index=False)


def pooled_effects(*, share=0.8):
    """Rows of the case `population` about effects: (structure, metric, value, unit)."""
    real = {"lvedv_ml": (25.0, -7.0, 4.0), "lvm_g": (30.0, 0.2, 1.0), "rvedv_ml": (28.0, -8.0, 5.0)}
    rows = []
    for measure, values in real.items():
        unit = "g" if measure.endswith("_g") else "ml"
        for name, value in zip(("sex", "age", "sbp"), values, strict=True):
            value = 0.1 if (measure, name) == ("rvedv_ml", "sbp") else value
            for end, size in (("", share), ("_real", 1.0)):
                told = (("", 0.0), ("_low", -1.5), ("_high", 1.5), ("_se", 0.0))
                rows += [
                    (measure, f"effect_{name}{end}{part}", size * value + add, unit) for part, add in told
                ]
            told = (("", 0.0), ("_low", -20.0), ("_high", 20.0))
            rows += [(measure, f"effect_{name}{part}_percent", 100 * share + add, "%") for part, add in told]
    for end in ("", "_real"):
        told = (("", 0.4), ("_low", -0.5), ("_high", 1.3))
        rows += [("rvedv_ml_by_sbp", f"control{end}{part}_percent", value, "%") for part, value in told]
        rows += [("lvm_g_by_age_female", f"control{end}{part}_percent", value, "%") for part, value in told]
    return rows


def population_frame(rows, method="cheart"):
    """A results table of the case `population`."""
    import pandas as pd

    head = {
        "run": "run",
        "model": "cheart",
        "data": "hearts",
        "split": "test",
        "case": "population",
        "method": method,
    }
    names = ("structure", "metric", "value", "unit")
    return pd.DataFrame([{**head, **dict(zip(names, row, strict=True))} for row in rows])


def write_ageing(folder, *, count=60, seed=0, slope=-0.7, samples=0):
    """Write what an evaluation of an ageing model leaves: hearts given back, at seven ages, and at second visits."""
    import pandas as pd

    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(seed)
    people = made_people(count, seed)
    names = [f"heart_{k:03d}" for k in range(count)]
    real = made_measures(people, 1)
    nothing = {"to_group": np.nan, "to_age_years": np.nan, "gap_years": np.nan, "sample": 0}
    rows = [
        pd.DataFrame({"case": names, "source": "real", **people, **nothing, **real, "classified_group": 3})
    ]
    back = {name: values + draw.normal(0, 2, count) for name, values in real.items()}
    rows.append(pd.DataFrame({"case": names, "source": "reconstructed", **people, **nothing, **back}))
    for group in range(7):
        moved = _moved(back, slope * (48.5 + 5 * group - people["age_years"]), draw)
        told = {**nothing, "to_group": group, "to_age_years": 48.5 + 5 * group}
        rows.append(pd.DataFrame({"case": names, "source": "aged", **people, **told, **moved}))
    gap = draw.uniform(2, 18, count)
    told = {**nothing, "gap_years": gap}
    later = _moved(real, -0.7 * gap, draw, noise=4)
    rows.append(pd.DataFrame({"case": names, "source": "later", **people, **told, **later}))
    for sample in range(samples + 1):
        moved = _moved(back, slope * gap, draw)
        rows.append(
            pd.DataFrame({"case": names, "source": "aged", **people, **told, **moved, "sample": sample})
        )
    table = pd.concat(rows, ignore_index=True)
    table.to_csv(folder / "measures.csv", index=False)
    (folder / "cases").mkdir(exist_ok=True)
    aged = np.stack([made_heart(2, scale=1.1 - 0.03 * group) for group in (0, 6)])
    arrays = {"label": made_heart(2), "reconstructed": made_heart(2, scale=0.98), "aged": aged}
    arrays["to_group"] = np.array([0, 6])
    np.savez_compressed(folder / "cases" / "heart_000.npz", **arrays, spacing_mm=np.array(SPACING))
    return table


def _moved(measures, change, draw, noise=1.0):
    """Measures with a change of the volumes (n,), mL, and none of the masses."""
    volumes = ("lvedv_ml", "rvedv_ml")
    noisy = {name: values + draw.normal(0, noise, len(values)) for name, values in measures.items()}
    return {name: values + (change if name in volumes else 0.0) for name, values in noisy.items()}
