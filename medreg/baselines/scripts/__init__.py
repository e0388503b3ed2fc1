"""Workers: programs that run one tool each, in that tool's own environment; medreg starts and never imports them.

A worker may import its tool, NumPy, nibabel and SimpleITK, and `serving` from this folder, nothing of medreg.
"""
