"""Time and chance as the engine sees them, so that tests can hold both."""

from abc import ABC, abstractmethod


class Clock(ABC):
    """What the engine knows of time and chance."""

    @abstractmethod
    def now(self) -> int:
        """Microseconds since 1970 UTC."""

    @abstractmethod
    def monotonic(self) -> float:
        """Seconds that never go back, from any start."""

    @abstractmethod
    def dice(self) -> float:
        """A random number from 0 to 1."""

    @abstractmethod
    def new_id(self, prefix: str) -> str:
        """A fresh id, `prefix_…`; later ones sort behind earlier ones."""
