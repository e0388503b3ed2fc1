"""Measure the heart population against what is known of real hearts, as tables in Markdown.

    python scripts/measure_heart_population.py law            # moments, ranges, effects, correlations, change: seconds
    python scripts/measure_heart_population.py spectrum -n 1093   # principal components: minutes
    python scripts/measure_heart_population.py volumes        # rendered against asked for, and the cost of a frame

What docs/explanation/heart-population.md says was measured comes from here.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

import numpy as np

from medreg.data.phantoms.hearts import truth
from medreg.data.phantoms.hearts.population import Population, heart
from medreg.data.phantoms.hearts.rendering import LV, MYO, RV, HeartGrid, place, render
from medreg.data.phantoms.hearts.spectrum import explained, label_points, population_points

POPULATIONS = {
    "modes=0": Population(0, 1.0, "none", True, 0, True, "simple"),
    "default": Population(0, 1.0, "none", True, 1, True, "physiological"),
}
GRIDS = {
    "tiny": HeartGrid((32, 32, 16), (5.0, 5.0, 8.0), 10),
    "lite": HeartGrid((64, 64, 32), (2.5, 2.5, 4.0), 20),
    "full": HeartGrid((128, 128, 64), (1.25, 1.25, 2.0), 20),
}
COMPONENTS = (1, 2, 3, 5, 10, 16, 32)
DRAWN = {"tiny": 150, "lite": 24, "full": 6}  # hearts of a grid


def row(*cells: object) -> None:
    """Print a row of a table."""
    print("| " + " | ".join(f"{c:.1f}" if isinstance(c, float) else str(c) for c in cells) + " |")


def heading(*cells: str) -> None:
    """Print the first two rows of a table."""
    print()
    row(*cells)
    row(*["---"] * len(cells))


def law(_: int) -> None:
    """Print what follows from the law without drawing."""
    heading("population", "sex", "measure", "mean", "SD", "2.5 %", "97.5 %")
    for name, population in POPULATIONS.items():
        found, range_ = truth.moments(population), truth.ranges(population)
        for sex, word in enumerate(("women", "men")):
            for measure in truth.MEASURES:
                row(name, word, measure, *found[sex][measure], *range_[sex][measure])
    heading("population", "measure", *(f"{c} per {u:g}" for c, u in truth.UNITS.items()), "R²")
    for name, population in POPULATIONS.items():
        share = truth.explained_by_conditions(population)
        for measure, effects in truth.known_effects(population).items():
            row(name, measure, *effects.values(), f"{share[measure]:.2f}")
    heading("population", "LVESV that cannot be known from end-diastole, mean error in mL")
    for name, population in POPULATIONS.items():
        row(name, truth.unknowable_lvesv_ml(population))
    heading(
        "population",
        "measure",
        "sex",
        "visits",
        "change",
        "error of no change",
        "of the ideal",
        "r of the ideal",
    )
    for name, population in POPULATIONS.items():
        paired = Population(**{**vars(population), "ageing": "consistent"})
        for measure in ("lvedv_ml", "rvedv_ml", "lvm_g"):
            for (sex, word), found_ in truth.longitudinal(paired, measure).items():
                values = list(found_.values())
                row(name, measure, ("women", "men")[sex], word, *values[:3], f"{values[3]:.2f}")


def spectrum(count: int) -> None:
    """Print how much of the variance components hold, and correlations of form and volume."""
    heading("hearts at end-diastole", *map(str, COMPONENTS))
    row("real, atlas of 1 093", 45, "", "", 83, 92, 95, 98.5)
    for name, population in POPULATIONS.items():
        share = explained(population_points(population, range(count)))
        row(f"{name}, surfaces of {count}", *(float(100 * share[k - 1]) for k in COMPONENTS))
    grid = GRIDS["lite"]
    for name, population in POPULATIONS.items():
        points, relative, index, ejection = [], [], [], []
        for number in range(count):
            people = population.people([number])
            aims = population.drawn(people, [number], 1)
            shape = population.shape(number, aims)
            made = heart(shape, aims, np.zeros(1))
            points.append(label_points(render(made, shape, place(None), grid)[..., 0], grid))
            relative.append(made.wall_mm[0] / (made.outer_mm[0] - made.wall_mm[0]))
            index.append(aims.lvedv_ml[0] / people.bsa_m2[0])
            ejection.append(aims.lvef_percent[0])
        share = explained(np.stack(points))
        row(f"{name}, rendered, {count}", *(float(100 * share[k - 1]) for k in COMPONENTS))
        r = [np.corrcoef(index, other)[0, 1] for other in (ejection, relative)]
        print(f"\n{name}: r(EDV index, EF) {r[0]:.2f}, r(EDV index, relative wall thickness) {r[1]:.2f}")


def volumes(_: int) -> None:
    """Print errors of rendered volumes and what a frame costs."""
    heading(
        "population", "grid", "LVEDV", "LVESV", "LVM", "RVEDV", "RVESV", "muscle over the cycle", "ms a frame"
    )
    for name, population in POPULATIONS.items():
        for size, grid in GRIDS.items():
            errors, wander, seconds = [], [], 0.0
            for number in range(DRAWN[size]):
                start = time.process_time()
                people = population.people([number])
                aims = population.drawn(people, [number], 1)
                cycle = population.cycle(number, 1, float(people.age_years[0]), grid.frames)
                shape = population.shape(number, aims)
                made = heart(shape, aims, cycle.contraction)
                labels = render(made, shape, population.pose_of(people), grid)
                seconds += time.process_time() - start
                left, muscle, right = (
                    (labels == k).sum((0, 1, 2)) * np.prod(grid.spacing_mm) / 1000 for k in (LV, MYO, RV)
                )
                found = [
                    left[0],
                    left[cycle.end_systole],
                    1.05 * muscle[0],
                    right[0],
                    right[cycle.end_systole],
                ]
                wanted = [aims.lvedv_ml, aims.lvesv_ml, aims.lvm_g, aims.rvedv_ml, aims.rvesv_ml]
                errors.append(100 * (np.array(found) / np.concatenate(wanted) - 1))
                wander.append(100 * np.abs(muscle / muscle.mean() - 1).max())
            cells = [
                f"{m:+.1f} ± {s:.1f}" for m, s in zip(np.mean(errors, 0), np.std(errors, 0), strict=True)
            ]
            row(name, size, *cells, float(np.max(wander)), 1000 * seconds / DRAWN[size] / grid.frames)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables asked for."""
    parts: dict[str, Callable[[int], None]] = {"law": law, "spectrum": spectrum, "volumes": volumes}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=list(parts))
    parser.add_argument("-n", type=int, default=1093, help="hearts of the spectrum")
    options = parser.parse_args(arguments)
    parts[options.part](options.n)


if __name__ == "__main__":
    main()
