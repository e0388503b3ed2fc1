"""Measures of a registration: overlap, surface distance, landmarks, deformation, intensities, run time.

Pure functions on tensors and arrays; a name that is not in voxels says its unit. `evaluator` joins them into
one list of rows for a case.
"""
