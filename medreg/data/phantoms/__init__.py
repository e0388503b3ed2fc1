"""Synthetic data sets with known motion, written in the layouts of real ones."""
