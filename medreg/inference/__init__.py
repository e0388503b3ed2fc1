"""Inference on one pair of images: optimisation of the registration energy."""
