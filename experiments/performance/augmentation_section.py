"""Section `augmentation`: a supervised step with an adversarial chain beside the authors' release and a plain step."""

from __future__ import annotations

from experiments.performance.advchain_parity import differences
from experiments.performance.measured_parity import measure_parity
from experiments.performance.measured_steps import measure_steps
from experiments.performance.posterior_section import mode_of, on_threads
from experiments.performance.session import Session
from experiments.performance.sizes import Size, parse_size
from experiments.performance.timing import Budget
from medreg.kernels.allocator import keep_freed_memory

SECTION, ITEM, PLAIN = "augmentation", "advchain", "plain step"
FULL_SIZES, QUICK_SIZES = ("4*192x192", "10*112x112"), ("2*64x64",)
TURNS = Budget(20.0, slow=10.0, least=5)
_PARITY = Size(2, (64, 64))


def run_augmentation(session: Session) -> None:
    """Agreement of values, then time of every step, on one thread and on all."""
    keep_freed_memory()  # of all contenders alike: they share the process
    measure_parity(session, SECTION, ITEM, _PARITY, differences)
    sizes = session.settings.sizes or (QUICK_SIZES if session.settings.quick else FULL_SIZES)
    for threads in sorted({1, session.settings.threads}):
        with on_threads(threads):
            for size in map(parse_size, sizes):
                measure_steps(session, SECTION, ITEM, size, mode_of(threads), TURNS)
