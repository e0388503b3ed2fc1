"""Section `steps`: one step of training, beside the networks of other packages and the authors' release."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from experiments.performance.inputs import Inputs
from experiments.performance.measurements import Row
from experiments.performance.memory import cost_alone
from experiments.performance.parity import differences
from experiments.performance.peers import all_peers, released
from experiments.performance.peers.ours import Ours
from experiments.performance.session import CONTENDER_ERRORS, OURS, Session
from experiments.performance.sizes import Size, parse_size
from experiments.performance.timing import Budget, take_turns
from experiments.performance.work import Contender, StepMaker, TrainingStep

SECTION, STEP, FLOOR = "steps", "step", "floor"
NETWORKS = ("gradirn", "voxelmorph", "vrnet", "csain")
CHECKPOINT = "checkpoint"
FULL_SIZES, QUICK_SIZES = ("10*160x160", "96"), ("2*64x64",)
_SMALL = {2: Size(1, (32, 32)), 3: Size(1, (32, 32, 32))}  # loads code and starts threads


def run_steps(session: Session) -> None:
    """Time, CPU time, peak memory and parameters of every step, and what checkpointing changes."""
    sizes = session.settings.sizes or (QUICK_SIZES if session.settings.quick else FULL_SIZES)
    for size in map(parse_size, sizes):
        for network in session.settings.networks or NETWORKS:
            if not session.measured.has(SECTION, network, size.name, STEP):
                session.say(f"{network}, step at {size.title}")
                _measure(session, network, Inputs(size, session.settings.device))


def present(session: Session) -> list[Contender]:
    """Ours first, and whoever else is there."""
    peers = all_peers(session.settings.release)
    return [Ours(), *(peer for peer in peers if peer.missing is None)]


def step_makers(contenders: list[Contender], network: str) -> dict[str, StepMaker]:
    """Makers of a step by the names of contenders, a variant after a comma."""
    found = {}
    for contender in contenders:
        for name, maker in contender.steps().items():
            kind, _, variant = name.partition(" ")
            if kind == network:
                found[f"{contender.name}, {variant}" if variant else contender.name] = maker
    return found


def _measure(session: Session, network: str, inputs: Inputs) -> None:
    contenders = present(session)
    rows, steps = [], {}
    for name, maker in step_makers(contenders, network).items():
        try:
            steps[name] = maker(inputs)
            maker(Inputs(_SMALL[inputs.size.ndim], inputs.device)).run()
        except CONTENDER_ERRORS as error:
            rows.append(_row(network, inputs, name, "failed", float("nan"), str(error).splitlines()[0][:100]))
            steps.pop(name, None)
    if not steps:
        session.measured.add(rows)
        session.say("  no contender has this step at this size")
        return
    rows += [_row(network, inputs, name, "parameters", step.parameters, "") for name, step in steps.items()]
    rows += _checkpoint_rows(network, inputs, steps)
    rows += [_floor_row(session, network, inputs, steps[OURS])] if OURS in steps else []
    rows += _release_rows(session, network, inputs)
    budget = Budget(0.5, slow=0.5) if session.settings.quick else Budget(6.0, slow=12.0, least=2)
    found = take_turns(
        {name: step.run for name, step in steps.items()}, budget=budget, device=session.settings.device
    )
    versions = {contender.name: contender.version for contender in contenders}
    rows += session.timing_rows(
        found, section=SECTION, item=network, size=inputs.size.name, mode=STEP, versions=versions
    )
    names = list(steps)
    steps.clear()
    gc.collect()
    rows += [_memory_row(session, network, inputs, name) for name in names]
    session.measured.add(rows)
    for row in rows:
        if row.quantity in ("wall_s", "cpu_s", "memory_mib") or row.quantity.endswith("_difference"):
            session.say(f"  {row.contender}: {row.quantity} {row.value:.4g}")


def _row(network: str, inputs: Inputs, name: str, quantity: str, value: float, note: str) -> Row:
    return Row(SECTION, network, inputs.size.name, name, STEP, quantity, value, note=note)


def _checkpoint_rows(network: str, inputs: Inputs, steps: dict[str, TrainingStep]) -> list[Row]:
    """Largest difference of the gradients with checkpointing, relative to the largest gradient."""
    others = [name for name in steps if name.startswith(f"{OURS}, {CHECKPOINT}")]
    if not others or OURS not in steps:
        return []
    plain = steps[OURS].gradients()
    scale = max(float(one.abs().max()) for one in plain)
    rows = []
    for name in others:
        pairs = zip(plain, steps[name].gradients(), strict=True)
        worst = max(float((one - two).abs().max()) for one, two in pairs) / scale
        rows.append(_row(network, inputs, name, "gradient_difference", worst, "of the largest gradient"))
    return rows


def _floor_row(session: Session, network: str, inputs: Inputs, step: TrainingStep) -> Row:
    """The arithmetic of the convolutions at the rate of a large matrix product."""
    flops = 3 * convolution_flops(
        step
    )  # of the output, of the gradient in the input and of that in the weights
    note = f"{flops / 1e9:.0f} GFLOP of convolution"
    return _row(network, inputs, FLOOR, "floor_s", flops / session.rates.flops_per_s, note)


def convolution_flops(step: TrainingStep) -> int:
    """Multiplications and additions of all convolutions of one forward pass."""
    found: list[int] = []

    def count(layer: Any, images: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        found.append(2 * output.numel() * layer.weight[0].numel())

    layers = [layer for layer in step.network.modules() if isinstance(layer, nn.Conv2d | nn.Conv3d)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    step.loss()
    for hook in hooks:
        hook.remove()
    return sum(found)


def _release_rows(session: Session, network: str, inputs: Inputs) -> list[Row]:
    """What our networks differ by from the releases that were given, in the authors' conventions."""
    small = Inputs(_SMALL[inputs.size.ndim], inputs.device)
    found = differences(network, released(session.settings.release), small)
    return [_row(network, inputs, name, quantity, value, note) for name, quantity, value, note in found]


def _memory_row(session: Session, network: str, inputs: Inputs, name: str) -> Row:
    release, small = session.settings.release, Inputs(_SMALL[inputs.size.ndim], inputs.device)
    peak = cost_alone(
        partial(make_call, name, network, inputs.size, inputs.device, release),
        partial(make_call, name, network, small.size, inputs.device, release),
        threads=session.settings.threads,
        device=inputs.device,
    )
    return _row(network, inputs, name, "memory_mib", peak.mib, peak.note)


def make_call(
    name: str, network: str, size: Size, device: str, release: Sequence[Path]
) -> Callable[[], object]:
    """The step of a contender, ready to run; made in the process that is measured."""
    contenders: list[Contender] = [Ours(), *all_peers(release)]
    inputs = Inputs(size, device)
    step = step_makers([one for one in contenders if one.missing is None], network)[name](inputs)
    assert inputs.fixed.shape == inputs.moving.shape  # made before anything is counted
    return step.run
