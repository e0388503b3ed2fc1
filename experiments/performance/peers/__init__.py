"""Other packages, each behind one small adapter that says which operators it has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from experiments.performance.peers.advchain_release import AdvChainRelease
from experiments.performance.peers.cheart_release import CHeartRelease
from experiments.performance.peers.csain_release import CSAINRelease
from experiments.performance.peers.deepali import Deepali
from experiments.performance.peers.dlvi_release import DLVIRelease
from experiments.performance.peers.grid_sample import GridSample
from experiments.performance.peers.monai import Monai
from experiments.performance.peers.release import Release
from experiments.performance.peers.scipy import Scipy
from experiments.performance.peers.sgmcmc_release import SGMCMCRelease
from experiments.performance.peers.simpleitk import SimpleItk
from experiments.performance.peers.surface_distance import SurfaceDistance
from experiments.performance.peers.voxelmorph import Voxelmorph
from experiments.performance.peers.vrnet_release import VRNetRelease
from experiments.performance.work import Contender
from medreg.errors import ConfigError

RELEASES = (
    Release, VRNetRelease, CSAINRelease, SGMCMCRelease, DLVIRelease, AdvChainRelease, CHeartRelease,
)  # fmt: skip


def all_peers(releases: Sequence[Path] = ()) -> tuple[Contender, ...]:
    """Return every adapter, whether its package is installed or not.

    Args:
        releases: checkouts of authors' code, each of which is a peer.
    """
    packages = (GridSample(), Monai(), Voxelmorph(), Deepali(), SimpleItk(), SurfaceDistance(), Scipy())
    return (*packages, *released(releases))


def released(folders: Sequence[Path]) -> tuple[Contender, ...]:
    """Return the adapter of every checkout, known by the files in it.

    Raises:
        ConfigError: a folder that is no release we know.
    """
    found: list[Contender] = []
    for folder in folders:
        kinds = [kind for kind in RELEASES if kind.recognises(folder)]
        if not kinds:
            raise ConfigError(
                f"--release {folder} is no checkout of the releases of GraDIRN (core/networks.py), VR-Net "
                "(L2Models.py), CSAIN (network.py), ir-sgmcmc (trainer/trainer.py), dlvi "
                "(dlvi/variationalize.py), AdvChain (advchain/augmentor) or CHeart (networks.py); give the top folder "
                "of one."
            )
        found.append(kinds[0](folder))
    return tuple(found)
