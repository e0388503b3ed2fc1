"""Artefacts of MR scanners, one file each, for images on which robustness is tested."""
