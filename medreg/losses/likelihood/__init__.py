"""Likelihoods of a warped image given a fixed one, for posteriors over deformations."""
