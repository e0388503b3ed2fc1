"""Sweepers of medreg, found by Hydra: grids and searches whose jobs fail, stop and go on one by one."""
