"""A few steps with an adversary in each of two processes on the CPU, as DistributedDataParallel makes them."""

from __future__ import annotations

from pathlib import Path

import torch
from heart_slices import SmallUNet
from torch import distributed, nn

from medreg.augmentation.adversary import AdvChain

STEPS = 8


def train(rank, folder):
    """Train on other images than the other process, and save chains, losses and weights in `<folder>/<rank>.pt`."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    try:
        torch.manual_seed(0)
        net = nn.parallel.DistributedDataParallel(SmallUNet(width=4), broadcast_buffers=False)
        optimiser, adversary = torch.optim.Adam(net.parameters(), lr=1e-3), AdvChain.paper(2, seed=3)
        images = torch.rand(2, 1, 24, 24, generator=torch.Generator().manual_seed(rank))
        chains, losses = [], []
        for step in range(STEPS):
            chain = adversary.attack(net, images, step=step).chain
            chains.append(" ".join(type(member).__name__ for member in chain.members))
            optimiser.zero_grad()
            loss = adversary(net, images, step=step)
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))
        # buffers are of each process's own images
        weights = {name: value.detach() for name, value in net.module.named_parameters()}
        torch.save({"chains": chains, "losses": losses, "weights": weights}, Path(folder) / f"{rank}.pt")
    finally:
        distributed.destroy_process_group()
