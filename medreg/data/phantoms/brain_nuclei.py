"""Deep structures of the template brain as signed distances in mm, written for one side (x ≥ 0 is |x|)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medreg.data.phantoms.brain_shapes import Array, ellipsoid, smooth_union, tube

# Positions: RAS mm, origin at the anterior commissure, after the centroids of common atlases (ours).


def core(p: Sequence[Array]) -> Array:
    """The middle of the brain below the corpus callosum, which has no cortex."""
    upper = ellipsoid(p, (0, -5, 6), (26, 37, 23))
    return smooth_union(upper, ellipsoid(p, (0, -22, -6), (20, 18, 16)), 6)


def corpus_callosum(p: Sequence[Array]) -> Array:
    """Arch of fibres between the hemispheres: genu, body, splenium."""
    arch = np.abs(ellipsoid(p, (0, -5, 5), (200, 34, 20.5))) - (2.6 + 1.6 * np.square((p[1] + 5) / 34))
    below = 2 - p[2] - 0.12 * np.abs(p[1])
    return np.maximum(np.maximum(arch, below), p[0] - 20)


def lateral_ventricle(p: Sequence[Array]) -> Array:
    """Frontal horn, body, atrium, occipital and temporal horns."""
    front = tube(
        p, [(9, 29, 3, 3.0), (8, 20, 9, 4.6), (7.5, 6, 15, 4.6), (9.5, -12, 19, 4.6), (15, -28, 16, 5.0)]
    )
    back = tube(p, [(15, -28, 16, 5.0), (23, -40, 8, 6.5), (24, -56, 5, 3.6), (22, -70, 4, 1.6)])
    temporal = tube(p, [(23, -40, 8, 5.5), (30, -36, -6, 3.0), (33, -20, -16, 2.2), (30, -8, -19, 2.4)])
    whole = smooth_union(smooth_union(front, back, 3), temporal, 3)
    return np.maximum(whole, np.float32(1.0) - p[0])


def third_ventricle(p: Sequence[Array]) -> Array:
    """Slit between the thalami."""
    return ellipsoid(p, (0, -11, 0), (2.6, 15, 11), tilt_deg=-10)


def fourth_ventricle(p: Sequence[Array]) -> Array:
    """Tent between brain stem and cerebellum."""
    return ellipsoid(p, (0, -40, -33), (8, 5.5, 11), tilt_deg=-15)


def thalamus(p: Sequence[Array]) -> Array:
    """Egg on either side of the third ventricle."""
    return ellipsoid(p, (11.5, -18, 7), (10, 17, 10.5), tilt_deg=-8)


def caudate(p: Sequence[Array]) -> Array:
    """Head in the wall of the frontal horn, body and tail along the ventricle."""
    head = ellipsoid(p, (15, 14, 5), (6, 12, 10), tilt_deg=-20)
    tail = tube(p, [(15.5, 8, 13, 4.5), (18, -8, 19, 3.2), (23, -24, 18, 2.4), (30, -34, 9, 2.0)])
    return smooth_union(head, tail, 3)


def putamen(p: Sequence[Array]) -> Array:
    """Lateral shell of the lentiform nucleus, oblique in the axial plane."""
    turned = (p[0] - 0.22 * (-(p[1] - 2)), p[1], p[2])
    return np.maximum(ellipsoid(turned, (27, 2, 1), (6.4, 18, 11.5)), 16 - p[0])


def pallidum(p: Sequence[Array]) -> Array:
    """Medial part of the lentiform nucleus."""
    turned = (p[0] - 0.25 * (-(p[1] + 4)), p[1], p[2])
    return ellipsoid(turned, (19.5, -4, -1), (5.2, 10.5, 7.5))


def hippocampus(p: Sequence[Array]) -> Array:
    """Head, body and tail on the floor of the temporal horn."""
    return tube(p, [(24, -6, -20, 6.5), (27, -17, -17, 6.0), (28.5, -27, -11, 5.0), (24, -37, -1, 3.8)])


def brain_stem(p: Sequence[Array]) -> Array:
    """Midbrain with peduncles, pons, medulla."""
    midbrain = smooth_union(
        ellipsoid(p, (0, -29, -11), (12, 11, 12)), ellipsoid(p, (11, -19, -10), (6, 7, 10)), 4
    )
    pons = ellipsoid(p, (0, -24, -30), (15.5, 12, 13), tilt_deg=-15)
    medulla = tube(p, [(0, -28, -42, 9.5), (0, -34, -56, 7.5), (0, -37, -63, 6.0)])
    arms = tube(p, [(10, -28, -32, 6.0), (20, -50, -37, 5.0)])
    return smooth_union(smooth_union(smooth_union(midbrain, pons, 5), medulla, 4), arms, 4)


def sylvian(p: Sequence[Array]) -> Array:
    """Distance to the lateral fissure and the cleft over the insula, positive away from it."""
    height = p[2] - (-9 + 0.30 * (20 - p[1]))
    within = np.maximum(p[1] - 26, -46 - p[1])
    fissure = np.maximum(
        np.maximum(np.abs(height) - 0.9 - 0.04 * np.maximum(p[0] - 45, 0), 37 - p[0]), within
    )
    bow = 40 - 0.008 * np.square(p[1] + 2)
    reach = np.maximum(np.maximum(height - 15, -8 - height), np.maximum(p[1] - 22, -26 - p[1]))
    cleft = np.maximum(np.abs(p[0] - bow) - 0.9, reach)
    return np.minimum(fissure, cleft)
