"""Search for the λ of a conditional model on the cases of a run, and what it costs beside retraining."""
