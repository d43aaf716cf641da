"""The columns and rows of the state table: how a run comes into each situation, and what may happen to it there."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from runcast.server.model.call import Abandoned, Raised, Returned, Stopped
from runcast.server.model.change import Change
from runcast.server.model.event import LogLine, Severity
from runcast.server.model.run import Definition, Error, Failure, Recovery, State, StopCause, Timeouts
from tests.model.life import BROKEN, SECOND, Life, definition, retries

# Far enough apart that of two things that wait, only the one in question comes.
TIMEOUT = 100 * SECOND
GRACE = 1_000 * SECOND
WAIT = 10_000 * SECOND
HOPELESS = Raised(Error(3, "BAD_INPUT", "it will never work"))
RUN_TIMEOUT = Timeouts(attempt=None, run=TIMEOUT, cancel_grace=GRACE)


@dataclass(frozen=True)
class Start:
    """What the run of one row is started with, and what it went through before; one retry is allowed."""

    timeouts: Timeouts = field(default_factory=lambda: Timeouts(attempt=None, cancel_grace=GRACE))
    recovery: Recovery = Recovery.HOLD
    idempotent: bool = True
    pausable: bool = True
    tries: int = 0
    crashes: int = 0

    def definition(self) -> Definition:
        """The snapshot it stands for."""
        return definition(
            retry=retries(2, WAIT, non_retryable_reasons=("BAD_INPUT",)),
            recovery=self.recovery,
            timeouts=self.timeouts,
            idempotent=self.idempotent,
            pausable=self.pausable,
        )


def _queued(start: Start) -> Life:
    return Life(start.definition()).after(SECOND)


def _scheduled(start: Start) -> Life:
    return Life(start.definition(), start_in=WAIT).after(SECOND)


def _running(start: Start) -> Life:
    life = _queued(start).running()
    for _ in range(start.tries):
        life.end(BROKEN)
        life.running()
    for _ in range(start.crashes):
        life.lose()
        life.running()
    return life


def _timing_out(start: Start) -> Life:
    life = _running(start)
    life.ask_to_stop(StopCause.ATTEMPT_TIMEOUT)
    return life.after(SECOND)


def _draining(start: Start) -> Life:
    life = _running(start)
    life.ask_to_stop(StopCause.RELEASE)
    return life.after(SECOND)


def _backing_off(start: Start) -> Life:
    life = _running(replace(start, tries=0))
    life.end(BROKEN)
    return life.after(SECOND)


def _pausing(start: Start) -> Life:
    life = _running(replace(start, pausable=True))
    life.pause()
    return life.after(SECOND)


def _paused(life: Life) -> Life:
    if life.run.state is State.PAUSING:
        life.end(Stopped())
    else:
        life.pause()
    return life.after(SECOND)


def _interrupted(start: Start) -> Life:
    life = _running(replace(start, recovery=Recovery.HOLD, crashes=0))
    life.lose()
    return life.after(SECOND)


def _cancelling(start: Start) -> Life:
    life = _running(start)
    life.cancel()
    return life.after(SECOND)


def _cancelling_late(start: Start) -> Life:
    return _running(replace(start, timeouts=RUN_TIMEOUT, tries=0, crashes=0)).wakes().after(SECOND)


def _succeeded(start: Start) -> Life:
    life = _running(start)
    life.end(Returned("null"))
    return life.after(SECOND)


def _succeeded_with_errors(start: Start) -> Life:
    life = _running(start)
    life.report(Failure("b.txt"))
    life.end(Returned("null"))
    return life.after(SECOND)


def _failed(start: Start) -> Life:
    life = _running(start)
    life.end(HOPELESS)
    return life.after(SECOND)


def _cancelled(start: Start) -> Life:
    life = _cancelling(start)
    life.end(Stopped())
    return life.after(SECOND)


def _timed_out(start: Start) -> Life:
    return _queued(replace(start, timeouts=RUN_TIMEOUT)).wakes().after(SECOND)


COLUMNS: dict[str, tuple[State, Callable[[Start], Life]]] = {
    "SC": (State.SCHEDULED, _scheduled),
    "QU": (State.QUEUED, _queued),
    "RU": (State.RUNNING, _running),
    "Rt": (State.RUNNING, _timing_out),
    "Rd": (State.RUNNING, _draining),
    "BO": (State.BACKING_OFF, _backing_off),
    "PG": (State.PAUSING, _pausing),
    "Ps": (State.PAUSED, lambda start: _paused(_scheduled(start))),
    "Pb": (State.PAUSED, lambda start: _paused(_backing_off(start))),
    "Pq": (State.PAUSED, lambda start: _paused(_pausing(start))),
    "IN": (State.INTERRUPTED, _interrupted),
    "Cc": (State.CANCELLING, _cancelling),
    "Ct": (State.CANCELLING, _cancelling_late),
    "OK": (State.SUCCEEDED, _succeeded),
    "OE": (State.SUCCEEDED_WITH_ERRORS, _succeeded_with_errors),
    "FA": (State.FAILED, _failed),
    "CA": (State.CANCELLED, _cancelled),
    "TO": (State.TIMED_OUT, _timed_out),
}


def _timer(**timeouts: int) -> Start:
    return Start(Timeouts(cancel_grace=GRACE, **{"attempt": None, **timeouts}))


def _its_time_comes(life: Life) -> Change | None:
    life.now = life.run.next_attempt_time or life.now
    return life.expire()


def _returns_with_failed_targets(life: Life) -> Change | None:
    life.report(Failure("a.txt"))
    return life.end(Returned("null"))


_LINE = LogLine(Severity.INFO, "still here")
_ROWS: list[tuple[str, Start, Callable[[Life], Change | None]]] = [
    ("its time comes", Start(), _its_time_comes),
    ("the queue timeout passes", _timer(queue=TIMEOUT), lambda life: life.after(TIMEOUT).expire()),
    ("the run timeout passes", _timer(run=TIMEOUT), lambda life: life.after(TIMEOUT).expire()),
    ("the attempt timeout passes", _timer(attempt=TIMEOUT), lambda life: life.after(TIMEOUT).expire()),
    ("the heartbeat timeout passes", _timer(heartbeat=TIMEOUT), lambda life: life.after(TIMEOUT).expire()),
    ("the grace is over", Start(), lambda life: life.after(GRACE).expire()),
    ("CancelRun", Start(), Life.cancel),
    ("CancelRun, at once", Start(), lambda life: life.cancel(immediate=True)),
    ("PauseRun", Start(), Life.pause),
    ("PauseRun, not pausable", Start(pausable=False), Life.pause),
    ("PauseRun, needs a checkpoint", Start(), lambda life: life.pause(require_checkpoint=True)),
    ("ResumeRun", Start(), Life.resume),
    ("ResumeRun, its time is past", Start(), lambda life: life.after(WAIT).resume()),
    ("a server claims it", Start(), Life.claim),
    ("it starts a child", Start(), Life.link_child),
    ("the server drains", Start(), lambda life: life.ask_to_stop(StopCause.RELEASE)),
    ("it reports", Start(), lambda life: life.report(_LINE)),
    ("returns", Start(), lambda life: life.end(Returned("null"))),
    ("returns, targets failed", Start(), _returns_with_failed_targets),
    ("fails, attempts left", Start(), Life.end),
    ("fails, none left", Start(tries=1), Life.end),
    ("fails, may not be retried", Start(), lambda life: life.end(HOPELESS)),
    ("stops, attempts left", Start(), lambda life: life.end(Stopped())),
    ("stops, none left", Start(tries=1), lambda life: life.end(Stopped())),
    ("is killed", Start(), lambda life: life.end(Stopped(killed=True))),
    ("cannot be stopped", Start(), lambda life: life.end(Abandoned())),
    ("owner lost, the fifth time", Start(recovery=Recovery.RESUME, crashes=4), Life.lose),
]
for _policy in Recovery:
    _unsafe = Start(idempotent=False, recovery=_policy)
    _ROWS.append((f"unsafe, stops, {_policy.name}", _unsafe, lambda life: life.end(Stopped())))
    _ROWS.append((f"owner lost, {_policy.name}", Start(recovery=_policy), Life.lose))

TRIGGERS = {name: (start, pull) for name, start, pull in _ROWS}
