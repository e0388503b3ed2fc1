"""A paper's table: a file that names rows, columns and claims, and a command that makes it or says what is missing.

`table_file` is what a file may say, `reading` reads it, `checking` refuses what cannot work; `plan` turns it into units
of work, `running` does those that are missing, `estimates` and `claims` make numbers and answers of their rows,
`report` writes them.
"""
