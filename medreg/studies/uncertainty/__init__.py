"""Is the uncertainty of methods true? Calibration of several runs, pooled over cases, with standard errors."""
