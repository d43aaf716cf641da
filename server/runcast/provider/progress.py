"""How far an attempt is: merges what it says, estimates its end, and tells at most ten times a second."""

import math
import threading
from collections.abc import Callable

from runcast.provider.clock import Clock
from runcast.provider.text import clean
from runcast.server.model.run import Progress

INTERVAL = 0.1
_BRIEF = 4096
_MICROSECONDS = 1_000_000
_MOST = (1 << 63) - 1
_FAR = 100 * 365 * 86_400


class Teller:
    """Keeps the latest progress of one attempt and sends it when 0.1 s have passed since the last one was sent.

    `later(seconds, callback)` arranges for what waits to be sent although nothing new is said. A change of stage sends
    what waits first, so that each stage is seen to its end. Safe to use from several threads.
    """

    def __init__(
        self,
        send: Callable[[Progress], None],
        later: Callable[[float, Callable[[], None]], None],
        clock: Clock,
    ) -> None:
        self._send = send
        self._later = later
        self._clock = clock
        self._lock = threading.RLock()
        self._completed = 0
        self._total = 0
        self._fraction: float | None = None
        self._unit = ""
        self._stage = ""
        self._message = ""
        self._waiting = False
        self._timer = False
        self._next = -math.inf
        self._since: tuple[float, float] | None = None

    def tell(
        self,
        completed: int | None = None,
        total: int | None = None,
        *,
        fraction: float | None = None,
        unit: str | None = None,
        stage: str | None = None,
        message: str | None = None,
    ) -> None:
        """Merge with what was said before; a new stage begins with nothing but its unit and what is said with it."""
        with self._lock:
            now = self._clock.monotonic()
            if stage is not None and stage != self._stage:
                self._begin(stage)
            if unit is not None:
                self._unit = unit
            if message is not None:
                self._message = message
            if completed is not None or total is not None or fraction is not None:
                self._move(completed, total, fraction, now)
            self._waiting = True
            if now >= self._next:
                self._flush(now)
            elif not self._timer:
                self._timer = True
                self._later(self._next - now, self._timed)

    def add(self, count: int) -> None:
        """Say that `count` more are completed."""
        with self._lock:
            self.tell(completed=self._completed + count)

    def flush(self) -> None:
        """Send what waits."""
        with self._lock:
            if self._waiting:
                self._flush(self._clock.monotonic())

    def _timed(self) -> None:
        with self._lock:
            self._timer = False
            left = self._next - self._clock.monotonic()
            if not self._waiting:
                return
            if left > 0:  # something was sent meanwhile
                self._timer = True
                self._later(left, self._timed)
            else:
                self.flush()

    def _begin(self, stage: str) -> None:
        if self._stage:
            self.flush()
        self._stage = stage
        self._completed = self._total = 0
        self._fraction = self._since = None
        self._message = ""

    def _move(self, completed: int | None, total: int | None, fraction: float | None, now: float) -> None:
        if completed is not None:
            if completed < self._completed:
                self._since = None
            self._completed = _count(completed)
        if total is not None and total != self._total:
            self._total = _count(total)
            self._since = None
        if fraction is not None and not math.isnan(fraction):
            self._fraction = min(1.0, max(0.0, float(fraction)))
        elif self._total:
            self._fraction = min(1.0, self._completed / self._total)
        else:
            self._fraction = None
        if self._fraction is not None and self._since is None:
            self._since = (now, self._fraction)

    def _flush(self, now: float) -> None:
        self._waiting = False
        self._next = now + INTERVAL
        self._send(
            Progress(
                self._fraction,
                self._completed,
                self._total,
                clean(self._unit, _BRIEF),
                clean(self._stage, _BRIEF),
                clean(self._message, _BRIEF),
                self._end_time(now),
            )
        )

    def _end_time(self, now: float) -> int | None:
        """By the average rate since the first value of this stage and total."""
        if self._since is None or self._fraction is None or self._fraction >= 1:
            return None
        start, first = self._since
        done = self._fraction - first
        if done <= 0 or now <= start:
            return None
        left = (1 - self._fraction) * (now - start) / done
        return self._clock.now() + int(left * _MICROSECONDS) if left < _FAR else None


def _count(said: float) -> int:
    """From 0 to the greatest that can be told: a count that is none must not be the end of a run."""
    return 0 if math.isnan(said) else int(min(_MOST, max(0, said)))
