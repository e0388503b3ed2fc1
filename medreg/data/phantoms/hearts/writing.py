"""The heart population as files: label maps over the cycle, conditions, and the truth they were made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from medreg.data.phantoms.hearts.course import Cycle
from medreg.data.phantoms.hearts.law import EFFECTS, People
from medreg.data.phantoms.hearts.population import Population, heart
from medreg.data.phantoms.hearts.rendering import HeartGrid, render
from medreg.data.phantoms.hearts.visits import AGEING
from medreg.data.phantoms.writing import Job, Phantom
from medreg.errors import ConfigError
from medreg.io.atomic import write_text
from medreg.io.image import write_labels

VERSION = 3  # of the generator; part of the name of the folder
STARTS = {
    "test": 0,
    "val": 100_000,
    "train": 200_000,
}  # numbers of a split do not depend on the size of another
MOST = 99_999
CHOICES = {
    "ageing": AGEING,
    "modes": (0, 1),
    "course": ("simple", "physiological"),
    "phases": ("cycle", "edes"),
}


@dataclass(frozen=True)
class Heart:
    """One label map over time: a subject at a visit."""

    subject: str
    visit: int
    split: str
    number: int

    @property
    def name(self) -> str:
        """Of the file, without suffixes."""
        return self.subject if self.visit == 1 else f"{self.subject}_v{self.visit}"


class HeartPopulation(Phantom):
    """Writes hearts whose anatomy follows from age, sex, body size, blood pressure and chance, once.

    The folder `<root>/<hash of all parameters>` holds `hearts/<subject>.nii.gz`, (X, Y, Z, T) label maps with LV 1,
    MYO 2 and RV 4, the long axis last and the apex first; a second visit is `<subject>_v2.nii.gz`. `conditions.csv`
    has a row a heart: subject, visit, age_years, sex (F, M), height_cm, weight_kg, sbp_mmhg, split. `truth.csv` has
    what the heart was drawn with, in mL, g, per cent and mm, and the random effects.

    Where `ageing` is not none, training and validation subjects have one visit and test subjects two.

    A heart depends on the seed and its number alone: more subjects leave the others as they are.

    Args:
        root: folder of all such data sets.
        grid: `size` (X, Y, Z) voxels, `spacing_mm`, and `frames` of the cycle.
        training: subjects.
        validation: subjects.
        testing: subjects.
        seed: of everything; not the seed of the run.
        effect_scale: multiplies every slope of age.
        ageing: none | consistent | confounded.
        repose: whether the second visit finds the heart in another pose.
        modes: 0, volumes and length vary; 1, the form too, and means are nearer to measured ones.
        pose: whether hearts differ in pose.
        course: simple | physiological.
        phases: cycle, all frames | edes, end-diastole and end-systole.

    Raises:
        ConfigError: numbers that make no population.
    """

    title: ClassVar[str] = "Writing the heart population"

    def __init__(
        self,
        root: str | Path,
        *,
        grid: Mapping[str, Any],
        training: int,
        validation: int,
        testing: int,
        seed: int,
        effect_scale: float,
        ageing: str,
        repose: bool,
        modes: int,
        pose: bool,
        course: str,
        phases: str,
    ) -> None:
        self.grid = _grid(grid)
        self.counts = {"train": int(training), "val": int(validation), "test": int(testing)}
        self.population = Population(
            int(seed), float(effect_scale), str(ageing), bool(repose), int(modes), bool(pose), str(course)
        )
        self.phases = str(phases)
        self._check()
        self.folder = self.below(root)

    def parameters(self) -> dict[str, Any]:
        """Return everything on which the files depend."""
        grid = {
            "size": list(self.grid.size),
            "spacing_mm": list(self.grid.spacing_mm),
            "frames": self.grid.frames,
        }
        return {
            "version": VERSION,
            "grid": grid,
            "subjects": self.counts,
            "phases": self.phases,
            **asdict(self.population),
        }

    def hearts(self) -> list[Heart]:
        """Return all hearts that are written."""
        return [
            Heart(f"{split}{k:05d}", visit, split, STARTS[split] + k)
            for split, count in self.counts.items()
            for k in range(1, count + 1)
            for visit in range(1, 2 + self._seen_twice(split))
        ]

    def missing(self) -> Sequence[Job]:
        """Return a job for each heart that is not there."""
        return [partial(self._write, one) for one in self.hearts() if not self.file(one).is_file()]

    def file(self, one: Heart) -> Path:
        """Return where a heart lies."""
        return self.folder / "hearts" / f"{one.name}.nii.gz"

    def sweep(self) -> None:
        """Remove half-written hearts."""
        for left in self.folder.glob("hearts/.*.part*"):
            left.unlink(missing_ok=True)

    def finish(self) -> None:
        """Write conditions and truth of all hearts."""
        conditions = ["subject,visit,age_years,sex,height_cm,weight_kg,sbp_mmhg,split"]
        truth: list[str] = []
        for one in self.hearts():
            pairs = self._seen_twice(one.split)
            people = self.population.people([one.number], one.visit, pairs=pairs)
            aims = self.population.drawn(people, [one.number], one.visit)
            known = {name: float(values[0]) for name, values in people.covariates().items()}
            numbers = [f"{known[n]:.3f}" for n in ("height_cm", "weight_kg", "sbp_mmhg")]
            sex = "M" if known["sex"] else "F"
            conditions.append(
                ",".join([one.subject, str(one.visit), f"{known['age_years']:.3f}", sex, *numbers, one.split])
            )
            values = {k: v[0] for k, v in {**aims.measures(), "length_mm": aims.length_mm}.items()}
            cycle = self._cycle(one, people)
            values |= {"es_frame": cycle.end_systole, "largest_frame": int(np.argmin(cycle.contraction))}
            values |= dict(zip(EFFECTS, people.effects[0], strict=True))
            if not truth:
                truth.append(",".join(["subject", "visit", *values]))
            truth.append(
                ",".join([one.subject, str(one.visit), *(f"{float(v):.4f}" for v in values.values())])
            )
        write_text(self.folder / "conditions.csv", "\n".join(conditions) + "\n")
        write_text(self.folder / "truth.csv", "\n".join(truth) + "\n")

    def labels(self, one: Heart) -> NDArray[np.uint8]:
        """Draw a heart, (X, Y, Z, T) with codes LV 1, MYO 2, RV 4."""
        people = self.population.people([one.number], one.visit, pairs=self._seen_twice(one.split))
        aims = self.population.drawn(people, [one.number], one.visit)
        shape = self.population.shape(one.number, aims)
        made = heart(shape, aims, self._cycle(one, people).contraction)
        return render(made, shape, self.population.pose_of(people), self.grid)

    def _cycle(self, one: Heart, people: People) -> Cycle:
        if self.phases == "edes":
            return Cycle(np.array([0.0, 1.0]), 1)
        return self.population.cycle(one.number, one.visit, float(people.age_years[0]), self.grid.frames)

    def _write(self, one: Heart) -> None:
        write_labels(self.file(one), self.labels(one), self.grid.affine)

    def _seen_twice(self, split: str) -> bool:
        return self.population.ageing != "none" and split == "test"

    def _check(self) -> None:
        for split, count in self.counts.items():
            if not 0 <= count <= MOST:
                raise ConfigError(
                    f"The heart population has {count} subjects for {split}; give 0 to {MOST} as training, validation "
                    "and testing under data.dataset.prepare."
                )
        if not sum(self.counts.values()):
            raise ConfigError("The heart population has no subjects; set data.dataset.prepare.training.")
        if not 0 <= self.population.effect_scale <= 5:
            raise ConfigError(
                f"data.dataset.prepare.effect_scale is {self.population.effect_scale}; give a number from 0 to 5."
            )
        values = {**asdict(self.population), "phases": self.phases}
        for name, allowed in CHOICES.items():
            if values[name] not in allowed:
                words = " | ".join(str(word) for word in allowed)
                raise ConfigError(f"data.dataset.prepare.{name} is {values[name]!r}; give {words}.")


def _grid(options: Mapping[str, Any]) -> HeartGrid:
    unknown = set(options) ^ {"size", "spacing_mm", "frames"}
    if unknown:
        raise ConfigError(
            f"data.dataset.prepare.grid needs size, spacing_mm and frames, not {sorted(map(str, options))}."
        )
    size = tuple(int(n) for n in options["size"])
    spacing = tuple(float(s) for s in options["spacing_mm"])
    frames = int(options["frames"])
    if len(size) != 3 or min(size) < 8 or len(spacing) != 3 or min(spacing) <= 0 or frames < 2:
        raise ConfigError(
            "data.dataset.prepare.grid needs three sizes of at least 8 voxels, three positive spacings and at least 2 "
            f"frames, not {list(size)}, {list(spacing)} and {frames}."
        )
    return HeartGrid((size[0], size[1], size[2]), (spacing[0], spacing[1], spacing[2]), frames)
