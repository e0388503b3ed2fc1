"""The units of a capture range: landscapes and starts of each measure and family, and its learning rate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from medreg.errors import ConfigError, DataError
from medreg.io.digest import digest_of
from medreg.models.affine import AffineRegistration
from medreg.studies.capture_range.cases import Cases, load_cases
from medreg.studies.capture_range.families import Family
from medreg.studies.capture_range.landscape import landscape
from medreg.studies.capture_range.measures import Measure
from medreg.studies.capture_range.registering import lengths, register_starts
from medreg.study.unit import Row, Unit


@dataclass(frozen=True)
class MeasureUnits:
    """What is done with one measure.

    Attributes:
        cfg: configuration of `medreg capture-range`.
        measure: the measure.
        families: by name.
        cases: pairs that are reported.
    """

    cfg: DictConfig
    measure: Measure
    families: Mapping[str, Family]
    cases: Cases

    def __post_init__(self) -> None:
        if self.cfg.rate is None and self.cfg.tuning_family not in self.families:
            names = ", ".join(self.families)
            raise ConfigError(f"tuning_family={self.cfg.tuning_family} is none of the families {names}.")

    def landscapes(self) -> list[Unit]:
        """Return a unit for every family with a line."""
        return [
            self._unit("landscapes", {"family": name}, family.line)
            for name, family in self.families.items()
            if family.line
        ]

    def landscape_rows(self, unit: Unit) -> Iterator[Row]:
        """Yield the energy of every pair at every point of the line: that of the first stage."""
        family, cases = self.families[unit.key["family"]], self.cases
        poses = family.along(torch.tensor(family.line), ndim=len(cases.shape))
        model = self.measure.registration(1.0)
        found = landscape(model, cases.fixed, cases.moving, poses=poses, spacing_mm=cases.spacing_mm)
        for (i, case), (k, value) in product(enumerate(cases.names), enumerate(family.line)):
            yield {**self._label(0), "value": value, "case": case, "energy": found[i, k].item()}

    def rate(self) -> Unit:
        """Return the unit that chooses the learning rate."""
        cfg = self.cfg
        name = str(cfg.tuning_family)
        decisive = [list(cfg.rates), name, self._drawing(name), list(self.families[name].edges)]
        decisive += [cfg.tuning_stage, cfg.tuning_draws, cfg.criterion.final]
        return Unit({"part": "rates", "measure": self.measure.name}, digest_of(self.measure.digest, decisive))

    def rate_rows(self, unit: Unit) -> Iterator[Row]:
        """Try every rate; the one with most successes is chosen, of equals that with the lowest mean residual.

        Raises:
            DataError: there are no pairs to tune on.
        """
        cfg = self.cfg
        try:
            cases = load_cases(list(cfg.pairs), stage=str(cfg.tuning_stage), limit=None)
        except DataError as error:
            raise DataError(
                f"{error} Learning rates are chosen on tuning_stage={cfg.tuning_stage}; rate=0.04 goes without that."
            ) from error
        family, draws = self.families[str(cfg.tuning_family)], int(cfg.tuning_draws)
        tried: list[dict[str, Any]] = []
        for rate in map(float, cfg.rates):
            model = self.measure.registration(rate)
            rows = [
                row
                for number, draw in product(range(len(family.bins)), range(draws))
                for row in self._registered(model, cases, family, number, draw=draw, draws=draws)
            ]
            final = torch.tensor(
                [row["final"] for row in rows if row["stage"] == 0]
            )  # a second stage has its own
            good = int((final <= float(cfg.criterion.final)).sum())
            tried.append(
                {"rate": rate, "starts": len(final), "successes": good, "mean_final": float(final.mean())}
            )
        best = min(tried, key=lambda one: (-one["successes"], one["mean_final"], one["rate"]))
        for one in tried:
            mean = round(one["mean_final"], 4)
            yield {**self._label(-1), **one, "mean_final": mean, "chosen": int(one is best)}

    def starts(self, rate: float) -> list[Unit]:
        """Return a unit for every bin and draw, registered at a learning rate."""
        cfg = self.cfg
        kept = int(cfg.draws if cfg.first_draws is None else cfg.first_draws)
        return [
            self._unit(
                "starts",
                {"family": name, "low": low, "high": high, "draw": draw},
                (rate, int(cfg.draws), number, self._drawing(name)),
            )
            for name, family in self.families.items()
            for number, (low, high) in enumerate(family.bins)
            for draw in range(kept)
        ]

    def start_rows(self, unit: Unit, rate: float) -> Iterator[Row]:
        """Yield a row for every pair and stage of the registration."""
        family = self.families[unit.key["family"]]
        number = family.bins.index((unit.key["low"], unit.key["high"]))
        model = self.measure.registration(rate)
        for row in self._registered(
            model, self.cases, family, number, draw=unit.key["draw"], draws=int(self.cfg.draws)
        ):
            yield {**self._label(row.pop("stage")), "rate": rate, **row}

    def half(self, cases: Cases) -> Tensor:
        """Return half-extents (D,) in the unit of residuals."""
        return lengths(cases.shape, cases.spacing_mm, unit=str(self.cfg.unit))

    def _unit(self, part: str, where: Mapping[str, Any], decisive: Any) -> Unit:
        key = {"part": part, "measure": self.measure.name, **where}
        return Unit(key, digest_of(self.measure.digest, self.cfg.unit, self.cases.names, decisive))

    def _drawing(self, family: str) -> dict[str, Any]:
        """Return what decides the motions of a family besides its bins."""
        node = OmegaConf.to_container(self.cfg.families[family], resolve=True)
        assert isinstance(node, dict)
        return {str(key): value for key, value in node.items() if key not in ("edges", "line")}

    def _label(self, stage: int) -> dict[str, str]:
        """Return the columns of a stage: what the first of two found has rows under its own name."""
        name, title = self.measure.labels[stage]
        return {"measure": name, "title": title, "digest": self.measure.digest}

    def _registered(
        self, model: AffineRegistration, cases: Cases, family: Family, number: int, *, draw: int, draws: int
    ) -> Iterator[dict[str, Any]]:
        """Yield rows of one draw of a bin; starts depend on seed, bin, pairs and `draws` only."""
        half = self.half(cases)
        seed = 1000 * int(self.cfg.seed) + number
        poses = family.draw(family.bins[number], count=len(cases.names) * draws, half=half, seed=seed)[
            draw::draws
        ]
        for rows in torch.arange(len(cases.names)).split(int(self.cfg.batch)):
            outcomes = register_starts(
                model,
                cases.fixed[rows],
                cases.moving[rows],
                poses=poses[rows],
                half=half,
                spacing_mm=cases.spacing_mm,
            )
            for (stage, found), (place, case) in product(enumerate(outcomes), enumerate(rows.tolist())):
                yield {
                    "stage": stage,
                    "case": cases.names[case],
                    "draw": draw,
                    "start": round(found.start[place].item(), 5),
                    "final": round(found.final[place].item(), 5),
                    "energy_start": found.energy_start[place].item(),
                    "energy_final": found.energy_final[place].item(),
                    "inside": int(found.inside[place]),
                    "cpu_seconds": round(found.seconds, 5),
                }
