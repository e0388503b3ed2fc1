"""What every study shares: units of work, one resumable store of their rows, one loop that does what is missing.

A study is a list of `Unit`s (a training, a method on a case, a measure on starts, a search on a group of cases).
Each leaves rows of plain values in one `Store`, keyed by what determines them; `run_units` does those that are
missing. Tables and figures are made from the rows.
"""
