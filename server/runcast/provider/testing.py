"""Contexts without a server, for the unit tests of providers: `Context.testing()` and `SyncContext.testing()`.

    async def test_countdown_goes_on_where_it_was():          # a coroutine
        ctx = Context.testing(restored=2)
        assert await countdown.call(ctx, seconds=3) == "lift-off"
        assert ctx.recorded.checkpoints == [3]

    def test_fingerprint_counts_what_it_read(tmp_path):       # a plain function
        (tmp_path / "a").write_text("a")
        ctx = SyncContext.testing()
        assert fingerprint.call(ctx, path=str(tmp_path)).file_count == 1
        assert ctx.recorded.progress[-1].fraction == 1
        assert ctx.recorded.failures == []

Parameters are checked and converted as the server does it. Time stands still until `ctx.advance(seconds)` or
`ctx.sleep(seconds)` moves it; nothing waits. After `ctx.cancel()` the code ends at its next `track`, `sleep` or
`raise_if_cancelled`, in a plain function also after `checkpoint`. `Context.testing(restored=state)` starts from a
checkpoint, `Context.testing(targets=["a"])` is a retry for these targets only.

Children do not run: each that is started stands in `ctx.recorded.children`, and has ended as `children` says, which is
given the `StartedChild` and answers its output, or an `EndedChild` for another end.

    ctx = Context.testing(children=lambda child: child.parameters["number"] ** 2)
    assert await sum_of_squares.call(ctx, numbers=[1, 2]) == 5
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypedDict, TypeVar, Unpack

from runcast.provider.checkpoint import decode, encode
from runcast.provider.children import EndedChild
from runcast.provider.context import Context, SyncContext
from runcast.provider.errors import UNKNOWN
from runcast.provider.reporter import BlockingReporter, LoopReporter
from runcast.provider.result import json_text
from runcast.server.model.call import (
    Answer,
    Call,
    ChildEnd,
    ChildrenEnded,
    ChildStarted,
    Question,
    StartChild,
)
from runcast.server.model.event import LogLine, PartialResult, Report, SaveCheckpoint, Summary
from runcast.server.model.run import Checkpoint, EntityRef, Error, Failure, Progress, State

T = TypeVar("T")
_START = 1_767_225_600_000_000
_MICROSECONDS = 1_000_000


class Given(TypedDict, total=False):
    """What a test may say of the attempt: all has a default. `restored` is what the last checkpoint was given, with
    `restored_version`."""

    provider: str
    run_id: str
    attempt: int
    labels: Mapping[str, str]
    deadline: int | None
    restored: object
    restored_version: int
    targets: Sequence[str]
    children: "Callable[[StartedChild], object]"


class StartedChild(NamedTuple):
    """A child that the provider asked for; `parameters` as it gave them."""

    run_id: str
    provider: str
    task: str
    parameters: dict[str, Any]
    labels: dict[str, str]
    survive: bool


class HandClock:
    """A clock that is moved by hand; it begins at 2026-01-01T00:00:00Z."""

    def __init__(self) -> None:
        self._passed = 0.0
        self._due: list[tuple[float, Callable[[], None]]] = []

    def monotonic(self) -> float:
        """Seconds since the beginning."""
        return self._passed

    def now(self) -> int:
        """Microseconds since 1970 UTC."""
        return _START + round(self._passed * _MICROSECONDS)

    def later(self, delay: float, callback: Callable[[], None]) -> None:
        """Call back when that time has come."""
        self._due.append((self._passed + delay, callback))

    def advance(self, seconds: float) -> None:
        """Move on, and call back whom that time was waited for by, in order."""
        end = self._passed + seconds
        while due := [entry for entry in self._due if entry[0] <= end]:
            first = min(due, key=lambda entry: entry[0])
            self._due.remove(first)
            self._passed = first[0]
            first[1]()
        self._passed = end


class Recorded:
    """What a provider told, in order; `reports` is all of it. `children` are the runs that it started, each once."""

    def __init__(self, flush: Callable[[], None]) -> None:
        self.reports: list[Report] = []
        self.children: list[StartedChild] = []
        self._flush = flush

    @property
    def progress(self) -> list[Progress]:
        """As watchers would see it, coalesced, with the latest at the end."""
        self._flush()
        return self._of(Progress)

    @property
    def logs(self) -> list[LogLine]:
        """What was told to `ctx.log`; what is printed goes to where pytest catches it."""
        return self._of(LogLine)

    @property
    def checkpoints(self) -> list[Any]:
        """The saved states, as the next attempt would find them in `restored`."""
        return [decode(report.data) for report in self._of(SaveCheckpoint)]

    @property
    def failures(self) -> list[Failure]:
        """The failed targets."""
        return self._of(Failure)

    @property
    def refs(self) -> list[EntityRef]:
        """The entities that were touched."""
        return self._of(EntityRef)

    @property
    def partials(self) -> list[PartialResult]:
        """The pieces of the result."""
        return self._of(PartialResult)

    @property
    def summary(self) -> str:
        """The last one, or nothing."""
        return next((report.text for report in reversed(self._of(Summary))), "")

    def _of(self, kind: type[T]) -> list[T]:
        return [report for report in self.reports if isinstance(report, kind)]


class RecordingContext(Context):
    """A `Context` whose time is moved by hand and that keeps what it is told in `recorded`."""

    __slots__ = ("_asked", "clock", "recorded")

    def __init__(self, **given: Unpack[Given]) -> None:
        self.clock = HandClock()
        self._asked = False
        family = _Family(given)
        reporter = _LoopReporter(
            _call(given), _AsyncChannel(self._take, family.answer), self.clock, asked=lambda: self._asked
        )
        self.recorded = Recorded(reporter.flush)
        family.started = self.recorded.children
        super().__init__(reporter)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.advance(seconds)

    def cancel(self) -> None:
        """Ask the code to end, as a client's CancelRun does."""
        self._asked = True

    def _take(self, report: Report) -> None:
        self.recorded.reports.append(report)


class RecordingSyncContext(SyncContext):
    """The same for plain functions."""

    __slots__ = ("_asked", "clock", "recorded")

    def __init__(self, **given: Unpack[Given]) -> None:
        self.clock = HandClock()
        self._asked = False
        family = _Family(given)
        channel = _BlockingChannel(self._take, lambda: self._asked, family.answer)
        reporter = _BlockingReporter(_call(given), channel, self.clock)
        self.recorded = Recorded(reporter.flush)
        family.started = self.recorded.children
        super().__init__(reporter)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.advance(seconds)

    def cancel(self) -> None:
        """Ask the code to end, as a client's CancelRun does."""
        self._asked = True

    def _take(self, report: Report) -> None:
        self.recorded.reports.append(report)


def _call(given: Given) -> Call:
    restored = given.get("restored")
    return Call(
        run_id=given.get("run_id", "run_test"),
        attempt=given.get("attempt", 1),
        provider=given.get("provider", "test"),
        input="{}",
        checkpoint=None
        if restored is None
        else Checkpoint(1, encode(restored), given.get("restored_version", 0)),
        labels=dict(given.get("labels", {})),
        deadline=given.get("deadline"),
        targets=tuple(given.get("targets", ())),
    )


class _Family:
    """Answers as the engine does of children that end at once."""

    def __init__(self, given: Given) -> None:
        self.started: list[StartedChild] = []
        self._says: Callable[[StartedChild], object] = given.get("children", _nothing)
        self._ends: dict[str, ChildEnd] = {}
        self._keys: dict[str, str] = {}

    def answer(self, question: Question) -> Answer:
        if isinstance(question, StartChild):
            return self._start(question)
        ends = [self._ends[run_id] for run_id in question.run_ids]
        return ChildrenEnded(tuple(ends[:1] if question.any else ends))

    def _start(self, asked: StartChild) -> Answer:
        run_id = self._keys.get(asked.key)
        if run_id is not None:
            return ChildStarted(run_id, created=False)
        run_id = self._keys[asked.key] = f"child_{len(self.started) + 1}"
        parameters = json.loads(asked.input or "{}")
        child = StartedChild(run_id, asked.provider, asked.task, parameters, asked.labels, asked.survive)
        self.started.append(child)
        self._ends[run_id] = _end(run_id, self._says(child))
        return ChildStarted(run_id, created=True)


def _nothing(_child: StartedChild) -> object:
    return None


def _end(run_id: str, said: object) -> ChildEnd:
    if not isinstance(said, EndedChild):
        return ChildEnd(run_id, State.SUCCEEDED, json_text(said))
    error = Error(UNKNOWN, said.error_reason, said.error_message) if said.error_reason else None
    output = "" if said.output is None else json_text(said.output)
    return ChildEnd(run_id, State[said.state], output, error, said.summary)


class _LoopReporter(LoopReporter):
    __slots__ = ()
    clock: HandClock

    def later(self, delay: float, callback: Callable[[], None]) -> None:
        self.clock.later(delay, callback)

    async def sleep(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await self.drain()

    async def drain(self) -> None:
        if self.cancelled and not self.ending:
            self.ending = True
            raise self.stop()
        await asyncio.sleep(0)


class _BlockingReporter(BlockingReporter):
    __slots__ = ()
    clock: HandClock

    def later(self, delay: float, callback: Callable[[], None]) -> None:
        self.clock.later(delay, callback)

    def sleep(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.glance()


class _AsyncChannel:
    def __init__(self, report: Callable[[Report], None], answer: Callable[[Question], Answer]) -> None:
        self.report = report
        self._answer = answer

    async def commit(self, report: Report) -> None:
        self.report(report)

    async def drain(self) -> None:
        """There is always room."""

    async def answer(self, question: Question) -> Answer:
        return self._answer(question)


class _BlockingChannel:
    def __init__(
        self,
        report: Callable[[Report], None],
        cancelled: Callable[[], bool],
        answer: Callable[[Question], Answer],
    ) -> None:
        self.report = report
        self.commit = report
        self.cancelled = cancelled
        self.answer = answer
