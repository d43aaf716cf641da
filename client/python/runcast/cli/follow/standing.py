"""How a run stands, as far as its events have told: share, speed, time passed and time left."""

import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from runcast.cli import text

if TYPE_CHECKING:
    from runcast.client import Progress, Run, RunEvent

_WINDOW = 15.0


class Standing:
    """What is known of one run. Times are the server's: its clock is taken from live events, and not from this machine.

    `now` answers with this machine's time in seconds since 1970.
    """

    def __init__(self, run: "Run", now: Callable[[], float] = time.time) -> None:
        from runcast.client import state_name

        self._now = now
        self._name = state_name
        self._offset = 0.0
        self._points: deque[tuple[float, float]] = deque()
        self.id = run.id
        self.provider = text.line(run.provider)
        self.max_attempts = run.spec.retry.max_attempts
        self.state = state_name(run.state)
        self.attempt = run.attempt
        self.progress: Progress = run.progress
        self.next_attempt = _seconds(run, "next_attempt_time")
        self._queued = _seconds(run, "create_time")
        self._started = _seconds(run, "start_time")
        self._newest = run.last_sequence

    def take(self, event: "RunEvent", *, live: bool) -> None:
        """Take in an event; one that the first snapshot already knew changes speed and nothing else."""
        at = event.time.ToNanoseconds() / 1e9
        ahead = at - self._now()
        self._offset = ahead if live else max(self._offset, ahead)
        match event.WhichOneof("event"):
            case "progress":
                self._measure(at, event.progress)
            case "attempt_started":
                self._points.clear()
        if event.sequence <= self._newest:
            return
        match event.WhichOneof("event"):
            case "state_changed":
                self.state = self._name(event.state_changed.to_state)
                self.next_attempt = _seconds(event.state_changed, "next_attempt_time")
            case "attempt_started":
                self.attempt = event.attempt
                self._started = self._started or at
            case "progress":
                self.progress = event.progress

    def _measure(self, at: float, progress: "Progress") -> None:
        done = float(progress.completed) if progress.total or progress.completed else progress.fraction
        if self._points and done < self._points[-1][1]:
            self._points.clear()
        self._points.append((at, done))
        while len(self._points) > 2 and at - self._points[0][0] > _WINDOW:
            self._points.popleft()

    @property
    def time(self) -> float:
        """The server's clock, in seconds since 1970, as far as it is known."""
        return self._now() + self._offset

    @property
    def elapsed(self) -> float:
        """Seconds since its first attempt began, or since it was accepted where none has."""
        return max(self.time - (self._started or self._queued or self.time), 0.0)

    @property
    def fraction(self) -> float | None:
        """The share that is done, 0 to 1; None where it is not known."""
        told = self.progress
        if told.HasField("fraction"):
            return min(max(told.fraction, 0.0), 1.0)
        return min(max(told.completed / told.total, 0.0), 1.0) if told.total > 0 else None

    @property
    def speed(self) -> float | None:
        """What was done in a second, of late: units, or a share where no units are counted; None: not known."""
        if len(self._points) < 2:
            return None
        (first, done), (last, more) = self._points[0], self._points[-1]
        return (more - done) / (last - first) if last > first and more > done else None

    @property
    def left(self) -> float | None:
        """Seconds until the end: what the provider expects, else by the speed so far; None: not known."""
        told, speed, fraction = self.progress, self.speed, self.fraction
        if told.HasField("estimated_end_time"):
            return max(_seconds(told, "estimated_end_time") - self.time, 0.0)
        if speed is None or fraction is None or not self._points:
            return None
        since = max(self.time - self._points[-1][0], 0.0)
        rest = told.total - told.completed if told.total > 0 else 1.0 - fraction
        if told.total <= 0 and told.completed:
            return None
        return max(rest / speed - since, 0.0)

    @property
    def counted(self) -> str:
        """What is done in units: `4/10 seconds`, `1.5/20.0 MiB`, `123 files`; empty where nothing is counted."""
        told = self.progress
        unit = text.line(told.unit)
        if told.total > 0 and unit == "bytes":
            return f"{text.size(told.completed)} of {text.size(told.total)}"
        if told.total > 0:
            return f"{told.completed:,}/{text.amount(told.total, unit)}"
        return text.amount(told.completed, unit) if told.completed else ""

    @property
    def saying(self) -> str:
        """What it says that it is doing, or how it stands where no code runs."""
        told = self.progress
        said = " · ".join(each for each in (text.line(told.stage), text.line(told.message)) if each)
        if self.state == "RUNNING":
            again = f"attempt {self.attempt}" if self.attempt > 1 else ""
            return " · ".join(each for each in (again, said) if each)
        if self.state in ("BACKING_OFF", "SCHEDULED") and self.next_attempt:
            what = "next attempt" if self.state == "BACKING_OFF" else "starts"
            return f"{text.words(self.state)}, {what} in {text.duration(self.next_attempt - self.time)}"
        return text.words(self.state)


def _seconds(message: Any, field: str) -> float:
    """A time in seconds since 1970; 0 where it is not set."""
    return getattr(message, field).ToNanoseconds() / 1e9 if message.HasField(field) else 0.0


def local_clock(seconds: float) -> str:
    """A time of day in this machine's zone: `14:03:59`."""
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%H:%M:%S")
