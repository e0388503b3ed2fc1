"""Registration of one pair of files: checks, presets, solver, what is written; behind `api` and the CLI."""
