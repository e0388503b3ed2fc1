"""The tissues of the phantom brain: a row each, with what it is labelled as and its signal in every contrast."""

from __future__ import annotations

from collections.abc import Mapping
from operator import itemgetter

_CONTRASTS = ("MR T1w", "MR T2w", "MR PDw")
# Tissue; its structure (none of its own where empty); codes of OASIS (neurite seg35), of which these are a subset, on
# the left and the right; relative signal of a 3 T brain in a T1-weighted gradient echo, a T2-weighted and a
# proton-density-weighted spin echo (ours, by eye). Fluid is dark, bright and as grey as white matter: no contrast is a
# monotone map of another.
_ROWS = (
    ("csf", "", (0, 0), (0.14, 0.86, 0.66)),
    ("cortex", "cerebral_cortex", (2, 21), (0.52, 0.50, 0.86)),
    ("white_matter", "cerebral_white_matter", (1, 20), (0.86, 0.31, 0.62)),
    ("thalamus", "thalamus", (7, 26), (0.70, 0.41, 0.73)),
    ("caudate", "caudate", (8, 27), (0.56, 0.46, 0.82)),
    ("putamen", "putamen", (9, 28), (0.61, 0.42, 0.80)),
    ("pallidum", "pallidum", (10, 29), (0.76, 0.27, 0.61)),
    ("hippocampus", "hippocampus", (14, 30), (0.53, 0.54, 0.87)),
    ("brain_stem", "brain_stem", (13, 13), (0.79, 0.36, 0.66)),
    ("cerebellum_cortex", "cerebellum_cortex", (6, 25), (0.50, 0.48, 0.85)),
    ("cerebellum_white_matter", "cerebellum_white_matter", (5, 24), (0.82, 0.33, 0.64)),
    ("corpus_callosum", "", (1, 20), (0.93, 0.26, 0.57)),
    ("ventricle", "lateral_ventricle", (3, 22), (0.11, 1.00, 0.70)),
    ("third_ventricle", "third_ventricle", (11, 11), (0.12, 0.96, 0.69)),
    ("fourth_ventricle", "fourth_ventricle", (12, 12), (0.12, 0.94, 0.69)),
)
TISSUES = {tissue: number for number, (tissue, *_) in enumerate(_ROWS, start=1)}
CODES = {tissue: codes for tissue, _, codes, _ in _ROWS}
SIGNAL: Mapping[str, Mapping[str, float]] = {
    contrast: {tissue: signals[k] for tissue, _, _, signals in _ROWS} for k, contrast in enumerate(_CONTRASTS)
}


def _labels() -> dict[str, int]:
    """Structure → code, by code; a structure of both sides counts once a side."""
    found = []
    for _, name, (left, right), _ in _ROWS:
        sides = [(name, left)] if left == right else [(f"left_{name}", left), (f"right_{name}", right)]
        found += sides if name else []
    return dict(sorted(found, key=itemgetter(1)))


LABELS = _labels()
