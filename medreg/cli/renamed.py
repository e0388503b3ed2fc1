"""Commands and options that had another name before: they still answer, and say what they are called now."""

from __future__ import annotations

import sys
from collections.abc import Sequence

COMMANDS = {"search-lambda": "search-smoothness", "draw-lambda": "draw-smoothness"}
OPTIONS = {
    "--lambda": "--smoothness",
    "--lambdas": "--smoothness",
    "--lambda-map": "--smoothness-map",
    "--lambda-label": "--smoothness-label",
    "--lambda-file": "--smoothness-file",
}


def renamed(words: Sequence[str]) -> list[str]:
    """Return the words of a command line with today's names; each old one is told once, on standard error."""
    told: dict[str, str] = {}

    def today(word: str, names: dict[str, str]) -> str:
        name, equals, value = word.partition("=")
        if name not in names:
            return word
        told[name] = names[name]
        return f"{names[name]}{equals}{value}"

    found = [today(word, COMMANDS) for word in words[:1]] + [today(word, OPTIONS) for word in words[1:]]
    for old, new in told.items():
        print(f"{old} is called {new} now.", file=sys.stderr)
    return found
