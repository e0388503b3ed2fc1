"""Regularisers of displacement and velocity fields; one penalty a file."""
