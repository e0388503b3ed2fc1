"""Other packages, each behind one small adapter that says which operators it has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medreg.errors import ConfigError
from medreg.performance.peers.csain_release import CSAINRelease
from medreg.performance.peers.deepali import Deepali
from medreg.performance.peers.grid_sample import GridSample
from medreg.performance.peers.monai import Monai
from medreg.performance.peers.release import Release
from medreg.performance.peers.scipy import Scipy
from medreg.performance.peers.simpleitk import SimpleItk
from medreg.performance.peers.surface_distance import SurfaceDistance
from medreg.performance.peers.voxelmorph import Voxelmorph
from medreg.performance.peers.vrnet_release import VRNetRelease
from medreg.performance.work import Contender

RELEASES = (Release, VRNetRelease, CSAINRelease)


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
                "(L2Models.py) or CSAIN (network.py); give the top folder of one."
            )
        found.append(kinds[0](folder))
    return tuple(found)
