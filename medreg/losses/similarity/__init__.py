"""Similarity measures of two images on one grid; one measure a file, lower is better."""
