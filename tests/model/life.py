"""One run and its clock: brought anywhere by the public functions alone, with every change judged on the way."""

from typing import Any

from msgspec.structs import replace

from runcast.server.model import attempts, lifecycle
from runcast.server.model.call import End, Raised
from runcast.server.model.change import Change
from runcast.server.model.event import Event, Report
from runcast.server.model.run import (
    Definition,
    Error,
    Initiator,
    Recovery,
    Retry,
    Run,
    Spec,
    StopCause,
    Timeouts,
)
from tests.model.history import History

SECOND = 1_000_000
START = 1_700_000_000 * SECOND
RUN_ID = "run_0190a7e2-7c3f-7b52-9d5e-0f6a1c2b3d4e"
BOOT_ID = "boot_0190a7e1-1a2b-7c3d-8e4f-5a6b7c8d9e0f"
BROKEN = Raised(Error(2, "PROVIDER_EXCEPTION", "it broke"), "Traceback: it broke")


def definition(
    *,
    retry: Retry | None = None,
    recovery: Recovery = Recovery.RESUME,
    retention: int | None = None,
    timeouts: Timeouts | None = None,
    **flags: Any,
) -> Definition:
    """A definition without any timeout, unless told otherwise; `flags` are the provider's (`pausable` …)."""
    spec = Spec(timeouts or Timeouts(attempt=None), retry or Retry(), recovery, retention=retention)
    return Definition("work", spec, **flags)


def retries(attempts: int, wait: int = 10 * SECOND, **more: Any) -> Retry:
    """A retry policy whose waits are exact."""
    return Retry(attempts, wait, 1000 * wait, jitter=0.0, **more)


class Life:
    """A run, the time, and its history. Each verb commits its change at once, and answers it."""

    def __init__(self, what: Definition | None = None, start_in: int | None = None) -> None:
        self.now = START
        self.history = History()
        start_after = None if start_in is None else START + start_in
        self.created = lifecycle.create(RUN_ID, what or definition(), START, start_after)
        self.commit(self.created)

    @property
    def run(self) -> Run:
        """The run as it was committed last."""
        return self.history.read()

    @property
    def events(self) -> list[Event]:
        """Its journal."""
        return self.history.events

    def commit(self, change: Change | None) -> Change | None:
        """Judge and keep a change that was decided now, if there is one."""
        if change is not None:
            self.history.commit(change, self.now)
        return change

    def after(self, time: int) -> "Life":
        """Let time pass, without anybody looking."""
        self.now += time
        return self

    def wakes(self) -> "Life":
        """Let time pass until something is due, and do it."""
        assert self.run.wake_time is not None
        self.now = max(self.now, self.run.wake_time)
        assert self.expire() is not None
        return self

    def expire(self) -> Change | None:
        """Somebody looks at the clock."""
        return self.commit(lifecycle.expire(self.run, self.now))

    def claim(self, owner: str = BOOT_ID) -> Change | None:
        """A server begins the next attempt."""
        return self.commit(lifecycle.claim(self.run, owner, self.now))

    def cancel(self, initiator: Initiator = Initiator.CLIENT, **more: Any) -> Change | None:
        """Somebody asks for the end."""
        return self.commit(lifecycle.cancel(self.run, self.now, initiator, **more))

    def pause(self, **more: Any) -> Change | None:
        """Somebody asks for a pause."""
        return self.commit(lifecycle.pause(self.run, self.now, **more))

    def resume(self) -> Change | None:
        """Somebody lets it go on."""
        return self.commit(lifecycle.resume(self.run, self.now))

    def ask_to_stop(self, cause: StopCause, grace: int | None = None) -> Change | None:
        """The server asks its attempt to stop."""
        return self.commit(lifecycle.ask_to_stop(self.run, self.now, cause, grace))

    def link_child(self, child: str = "child") -> Change | None:
        """A run is started under it."""
        return self.commit(lifecycle.link_child(self.run, child, self.now))

    def cascaded(self) -> Change | None:
        """Its end has reached its children."""
        return self.commit(lifecycle.cascaded(self.run, self.now))

    def report(self, *reports: Report) -> Change | None:
        """The current attempt tells something."""
        return self.commit(attempts.report(self.run, self.run.attempt, reports, self.now))

    def end(self, how: End = BROKEN, dice: float = 0.5) -> Change | None:
        """The current attempt is over."""
        return self.commit(attempts.end(self.run, self.run.attempt, how, self.now, dice))

    def lose(self) -> Change | None:
        """The owner is lost."""
        return self.commit(attempts.lose(self.run, self.now))

    def running(self) -> "Life":
        """Claim it, having waited for its time where it must."""
        if self.run.next_attempt_time is not None:
            self.wakes()
        self.claim()
        return self.after(SECOND)


def blank(run: Run) -> Run:
    """The run without its version, to compare what else became of it."""
    return replace(run, version=0)
