"""Section `evaluation`: all metrics of one registered pair with 35 labels, beside other packages."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from experiments.performance.inputs import Inputs
from experiments.performance.learn2reg import compare_with_official
from experiments.performance.measurements import Row
from experiments.performance.peers import all_peers
from experiments.performance.peers.ours import Ours
from experiments.performance.session import CONTENDER_ERRORS, Session
from experiments.performance.sizes import parse_size
from experiments.performance.timing import Budget, take_turns
from experiments.performance.work import Evaluate

SECTION, ITEM, MODE = "evaluation", "all metrics of a pair", "pair"
QUICK, FULL = "48x56x64", "160x192x224"


def run_evaluation(session: Session) -> None:
    """Time our evaluator, the loops of MONAI and surface-distance, and the official script where it is given."""
    size = parse_size(QUICK if session.settings.quick else FULL)
    inputs = Inputs(size)
    session.say(f"evaluation of a pair, {size.title}, {inputs.labels} labels")
    if not session.measured.has(SECTION, ITEM, size.name, MODE):
        _measure(session, inputs)
    if session.settings.l2r is not None:
        compare_with_official(session, inputs, section=SECTION)


class _Remembered:
    """An evaluation that keeps its values; one that fails says so once and is as fast as nothing."""

    def __init__(self, session: Session, name: str, evaluate: Evaluate) -> None:
        self.session, self.name, self.evaluate = session, name, evaluate
        self.values: Mapping[str, float] = {}
        self.failed = False

    def __call__(self) -> None:
        if self.failed:
            return
        try:
            self.values = self.evaluate()
        except CONTENDER_ERRORS as error:
            self.failed = True
            self.session.say(f"  {self.name} failed: {type(error).__name__}: {error}")


def _measure(session: Session, inputs: Inputs) -> None:
    works, versions = {}, {}
    for contender in (Ours(), *all_peers()):
        evaluate = None if contender.missing else contender.evaluation(inputs)
        if evaluate is not None:
            works[contender.name] = _Remembered(session, contender.name, evaluate)
            versions[contender.name] = contender.version
    budget = Budget(0.3, slow=1.0) if session.settings.quick else Budget(6.0, slow=4.0)
    calls: dict[str, Callable[[], object]] = dict(works)
    found = take_turns(calls, budget=budget)
    found = {name: samples for name, samples in found.items() if not works[name].failed}
    size = inputs.size.name
    rows = list(
        session.timing_rows(found, section=SECTION, item=ITEM, size=size, mode=MODE, versions=versions)
    )
    for name in works:
        for metric, value in (works[name].values or {"failed": math.nan}).items():
            rows.append(Row(SECTION, ITEM, size, name, MODE, metric, value, version=versions[name]))
    session.measured.add(rows)
    for name, samples in found.items():
        session.say(f"  {name}: {float(np.median(samples.wall)):.3g} s")
