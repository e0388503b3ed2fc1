"""How many transitions are made and which of them are kept."""

from __future__ import annotations

from dataclasses import dataclass

from medreg.errors import ConfigError


@dataclass(frozen=True)
class Plan:
    """Length of a sampling.

    Attributes:
        burn_in: transitions before the first that may be kept.
        transitions: transitions after the burn-in.
        thin: of these, every `thin`-th is kept.

    Raises:
        ConfigError: a number that is negative or not whole, or nothing that would be kept.
    """

    burn_in: int
    transitions: int
    thin: int

    def __post_init__(self) -> None:
        for name, least in (("burn_in", 0), ("transitions", 1), ("thin", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigError(
                    f"{name} of the sampling is {value!r}; give a whole number of at least {least}."
                )
        if not self.kept:
            raise ConfigError(
                f"No sample is left: transitions={self.transitions} with thin={self.thin} keeps "
                f"{self.transitions} // {self.thin} = 0 per chain. Lower thin, or make more transitions."
            )

    @property
    def total(self) -> int:
        """Transitions of every chain, burn-in included."""
        return self.burn_in + self.transitions

    @property
    def kept(self) -> int:
        """Samples of every chain."""
        return self.transitions // self.thin

    def samples(self, chains: int) -> int:
        """Samples of all chains."""
        return chains * self.kept

    def keeps(self, transition: int) -> bool:
        """Whether the sample after so many transitions is kept."""
        return transition > self.burn_in and (transition - self.burn_in) % self.thin == 0
