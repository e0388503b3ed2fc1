"""What is odd about data: findings, gathered and counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

SEVERITIES = ("error", "warning", "info")


@dataclass(frozen=True)
class Issue:
    """One kind of finding over the whole data set.

    Attributes:
        severity: "error", "warning" or "info".
        message: what was found.
        remedy: what to do; empty where nothing needs doing.
        count: number of files or subjects.
        example: one of them.
    """

    severity: str
    message: str
    remedy: str
    count: int
    example: str


@dataclass(frozen=True)
class Audit:
    """The state of a data set.

    Attributes:
        facts: what there is, name → text.
        issues: what is odd, worst first.
    """

    facts: dict[str, str]
    issues: tuple[Issue, ...]

    @property
    def failed(self) -> bool:
        """Whether there is any error."""
        return any(issue.severity == "error" for issue in self.issues)


@dataclass
class Notes:
    """Findings gathered by (severity, kind)."""

    found: dict[tuple[str, str], list[tuple[str, str, str]]] = field(default_factory=dict)

    def add(self, severity: str, kind: str, message: str, *, remedy: str = "", example: str = "") -> None:
        """Note a finding; findings of one severity and kind are counted together."""
        self.found.setdefault((severity, kind), []).append((message, remedy, example))

    def issues(self) -> Iterator[Issue]:
        """Yield one issue a kind, worst first."""
        for severity in SEVERITIES:
            for (level, _), entries in self.found.items():
                if level == severity:
                    message, remedy, example = entries[0]
                    yield Issue(severity, message, remedy, len(entries), example)
