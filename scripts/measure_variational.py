"""Time and memory of a variational step on networks of 10⁴, 10⁵ and 10⁶ parameters, as a Markdown table.

    python scripts/measure_variational.py [--steps 10]

Every row is a process of its own with one thread: a perceptron of two hidden layers on 128 items, Adam, one step of the
plain network beside one of the family. Times are processor times, so that neighbours on the machine do not matter.
Memory is the peak above what the process held before the network was made.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from medreg.inference.variational.module import VariationalModule
from medreg.inference.variational.presets import preset

WIDTHS = {10_000: 93, 100_000: 309, 1_000_000: 993}  # hidden units for about so many parameters
ITEMS, INPUTS = 128, 10


def rows() -> list[dict[str, Any]]:
    """What is measured at each size: mean field, the preset, other modes at the rank of the preset, a mixture."""
    found: list[dict[str, Any]] = []
    for size in WIDTHS:
        usual = preset(size)
        common = {"size": size, "rank": usual.rank, "pairs": usual.pairs, "family": "structured"}
        found += [
            {**common, "family": "diagonal", "rank": 0, "mode": "paired"},
            {**common, "mode": "paired", "preset": True},
            {**common, "mode": "single"},
            {**common, "mode": "unscented", "pairs": 1},
        ]
        if usual.rank <= 5:
            found.append({**common, "mode": "exhaustive", "pairs": 1})
        found.append({**common, "family": "mixture", "mode": "paired", "pairs": 1})
    return found


def likelihood(output: Tensor, target: Tensor) -> Tensor:
    return -0.5 * (output - target).square().sum(-1)


def seconds(step: Callable[[], None], steps: int) -> float:
    """Processor time, median of several steps after one that is not counted."""
    step()
    times = []
    for _ in range(steps):
        start = time.process_time()
        step()
        times.append(time.process_time() - start)
    return sorted(times)[len(times) // 2]


def peak() -> float:
    """Largest resident size of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _warm_up(x: Tensor) -> None:
    """Load what torch loads at the first step, before the memory is read."""
    small = nn.Linear(INPUTS, 1)
    optimiser = torch.optim.Adam(small.parameters())
    small(x).sum().backward()
    optimiser.step()
    VariationalModule(small, rank=1)(x).sum().backward()


def measure(row: dict[str, Any], steps: int) -> dict[str, Any]:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    width = WIDTHS[row["size"]]
    x, y = torch.randn(ITEMS, INPUTS), torch.randn(ITEMS, 1)
    _warm_up(x)
    before = peak()
    net = nn.Sequential(
        nn.Linear(INPUTS, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1)
    )
    plain = torch.optim.Adam(net.parameters())

    def plain_step() -> None:
        plain.zero_grad()
        (-likelihood(net(x), y).sum()).backward()
        plain.step()

    alone = seconds(plain_step, steps)
    held = peak() - before
    options = {key: row[key] for key in ("family", "mode", "pairs")}
    rank = None if row["family"] == "diagonal" else row["rank"]
    model = VariationalModule(net, rank=rank, prior="fan_in", **options)
    optimiser = torch.optim.Adam(model.parameters())

    def step() -> None:
        optimiser.zero_grad()
        model.loss(x, y, likelihood).backward()
        optimiser.step()

    found = seconds(step, steps)
    samples = len(model.draw().values)
    return {"parameters": model.selection.dim, "samples": samples, "seconds": found, "plain": alone,
            "mb": peak() - before, "plain_mb": held}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--row", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.row:
        print(json.dumps(measure(arguments.row, arguments.steps)))
        return
    print(
        "| parameters | family | rank | mode | draws | samples a step | plain step, ms | step, ms | plain, MB | MB |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for row in rows():
        command = [sys.executable, __file__, "--steps", str(arguments.steps), "--row", json.dumps(row)]
        out = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        name = f"**{row['family']}**" if row.get("preset") else row["family"]
        print(
            f"| {out['parameters']:,} | {name} | {row['rank']} | {row['mode']} | {row['pairs']} | {out['samples']} | "
            f"{1000 * out['plain']:.1f} | {1000 * out['seconds']:.1f} | {out['plain_mb']:.0f} | {out['mb']:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
