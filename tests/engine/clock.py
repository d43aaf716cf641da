"""Time that moves when a test says so."""

import itertools
import time

from runcast.server.engine.clock import Clock

NOW = 1_750_000_000_000_000
SECOND = 1_000_000


class HandClock(Clock):
    """The wall clock stands still until `advance`; the monotonic one runs, and `skip` lets it jump."""

    def __init__(self) -> None:
        self.time = NOW
        self.luck = 1.0
        self._skipped = 0.0
        self._numbers = itertools.count(1)

    def now(self) -> int:
        return self.time

    def monotonic(self) -> float:
        return time.monotonic() + self._skipped

    def dice(self) -> float:
        return self.luck

    def new_id(self, prefix: str) -> str:
        return f"{prefix}_{next(self._numbers):06}"

    def advance(self, seconds: float) -> None:
        """Let this much time pass for runs."""
        self.time += int(seconds * SECOND)

    def skip(self, seconds: float) -> None:
        """Let this much time pass for the lease, as while the process was stopped."""
        self._skipped += seconds
