"""Other packages, each behind one small adapter that says which operators it has."""

from __future__ import annotations

from pathlib import Path

from medreg.performance.peers.deepali import Deepali
from medreg.performance.peers.grid_sample import GridSample
from medreg.performance.peers.monai import Monai
from medreg.performance.peers.release import Release
from medreg.performance.peers.scipy import Scipy
from medreg.performance.peers.simpleitk import SimpleItk
from medreg.performance.peers.surface_distance import SurfaceDistance
from medreg.performance.peers.voxelmorph import Voxelmorph
from medreg.performance.work import Contender


def all_peers(release: Path | None = None) -> tuple[Contender, ...]:
    """Return every adapter, whether its package is installed or not.

    Args:
        release: checkout of the GraDIRN release, which is a peer where it is given.
    """
    packages = (GridSample(), Monai(), Voxelmorph(), Deepali(), SimpleItk(), SurfaceDistance(), Scipy())
    return packages if release is None else (*packages, Release(release))
