"""A provider's policies as its author writes them, seconds or timedelta, and as the model keeps them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import isfinite
from typing import Literal

from runcast.provider.errors import InvalidProvider
from runcast.server.model import run as model

Duration = float | timedelta
"""Seconds, or a timedelta."""
Recovery = Literal["resume", "hold", "resume_on_watch", "fail"]


@dataclass(frozen=True, kw_only=True)
class Retry:
    """When a failed attempt is followed by another: `max_attempts` counts the first, `jitter` is 0 to 1."""

    max_attempts: int = 3
    initial_backoff: Duration = 1
    max_backoff: Duration = 300
    multiplier: float = 2.0
    jitter: float = 1.0
    non_retryable_reasons: Sequence[str] = ()

    def to_model(self) -> model.Retry:
        """InvalidProvider where a number makes no sense."""
        if self.max_attempts < 1:
            raise InvalidProvider(
                f"retry: max_attempts counts the first attempt too; {self.max_attempts} is none"
            )
        if not (isfinite(self.multiplier) and self.multiplier >= 1 and 0 <= self.jitter <= 1):
            raise InvalidProvider("retry: multiplier must be at least 1, and jitter between 0 and 1")
        return model.Retry(
            self.max_attempts,
            microseconds("retry.initial_backoff", self.initial_backoff),
            microseconds("retry.max_backoff", self.max_backoff),
            float(self.multiplier),
            float(self.jitter),
            tuple(self.non_retryable_reasons),
        )


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """How long things may take; None means without limit.

    `attempt` is one try, `run` all of them, `queue` the wait for a slot, `heartbeat` the silence between two reports,
    and `cancel_grace` what code that was asked to stop may take before it is killed.
    """

    attempt: Duration | None = 300
    run: Duration | None = None
    queue: Duration | None = None
    heartbeat: Duration | None = None
    cancel_grace: Duration = 10

    def to_model(self) -> model.Timeouts:
        """InvalidProvider where a duration is negative or not a number."""
        return model.Timeouts(
            queue=_optional("timeouts.queue", self.queue),
            attempt=_optional("timeouts.attempt", self.attempt),
            run=_optional("timeouts.run", self.run),
            heartbeat=_optional("timeouts.heartbeat", self.heartbeat),
            cancel_grace=microseconds("timeouts.cancel_grace", self.cancel_grace),
        )


def microseconds(name: str, duration: Duration) -> int:
    """A whole number of microseconds; InvalidProvider where it is negative or no number."""
    if isinstance(duration, timedelta):
        duration = duration.total_seconds()
    if isinstance(duration, bool) or not isinstance(duration, int | float):
        raise InvalidProvider(f"{name}: give seconds or a timedelta, not {duration!r}")
    if not isfinite(duration) or duration < 0:
        raise InvalidProvider(f"{name}: {duration!r} is no length of time")
    return round(duration * 1_000_000)


def recovery_of(given: Recovery | None, safe_to_repeat: bool) -> model.Recovery:
    """What was given, or by default RESUME where a second start does no harm, else HOLD."""
    if given is None:
        return model.Recovery.RESUME if safe_to_repeat else model.Recovery.HOLD
    try:
        return model.Recovery[given.upper()]
    except (KeyError, AttributeError):
        known = ", ".join(name.lower() for name in model.Recovery.__members__)
        raise InvalidProvider(f"recovery: {given!r} is not one of {known}") from None


def _optional(name: str, duration: Duration | None) -> int | None:
    return None if duration is None else microseconds(name, duration)
