"""A population of synthetic hearts whose law is known."""
