"""When to try again, and when to give up."""

import math
import random
import time
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Backoff:
    """How long to wait between tries, in seconds: twice as long each time, of which half is left to chance."""

    first: float = 0.1
    longest: float = 5.0

    def wait(self, tries: int) -> float:
        """The wait after so many tries without success."""
        full = min(self.longest, self.first * 2.0 ** min(tries - 1, 30))
        return random.uniform(full / 2, full)  # noqa: S311 - spreads callers over time, and guards no secret


class Deadline:
    """A moment so many seconds from now; None is never."""

    def __init__(self, seconds: float | None) -> None:
        self._end = math.inf if seconds is None else time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds until then, 0 at least; infinite where it is never."""
        return max(0.0, self._end - time.monotonic())


class Patience:
    """How long somebody goes on without success: from the first failure of a row on, for `limit` seconds."""

    def __init__(self, limit: float | None, backoff: Backoff) -> None:
        self._limit = limit
        self._backoff = backoff
        self._since: float | None = None
        self._tries = 0

    def answered(self) -> None:
        """Somebody is there, so patience begins anew; but nothing came of it yet, so tries stay as rare."""
        self._since = None

    def succeeded(self) -> None:
        """What fails next is the first failure of another row."""
        self._since, self._tries = None, 0

    def wait(self, at_least: float | None = None) -> float | None:
        """Seconds until the next try, not before the server wants it; None where patience ends before."""
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        self._tries += 1
        wait = max(self._backoff.wait(self._tries), at_least or 0.0)
        return None if self._limit is not None and now + wait - self._since > self._limit else wait
