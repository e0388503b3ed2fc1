"""Composing, checking and instantiating configurations; the only package that imports Hydra."""
