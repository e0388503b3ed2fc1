"""Is MC dropout Bayesian? Regressions whose posterior is known, and every method beside the truth."""
