"""What time it is, for a context: the machine's clocks, or one that a test moves."""

import time
from typing import Protocol


class Clock(Protocol):
    """Both kinds of time."""

    def monotonic(self) -> float:
        """Seconds since some fixed instant; never goes back."""

    def now(self) -> int:
        """Microseconds since 1970 UTC."""


class SystemClock:
    """The machine's clocks."""

    monotonic = staticmethod(time.monotonic)

    @staticmethod
    def now() -> int:
        """Microseconds since 1970 UTC."""
        return time.time_ns() // 1_000


SYSTEM = SystemClock()
