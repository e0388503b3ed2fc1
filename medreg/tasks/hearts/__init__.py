"""Training and evaluating models of hearts."""
