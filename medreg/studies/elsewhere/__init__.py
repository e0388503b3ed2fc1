"""One trained run on several data sets: tests that are runs of their own, and one table of all."""
