"""Capture range: from how far away a similarity measure leads an affine registration home."""
