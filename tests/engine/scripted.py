"""An executor whose attempts do what a test tells them, when it tells them."""

import asyncio
from collections.abc import Callable

from runcast.server.executor.abc import Executor, Running
from runcast.server.model.call import Abandoned, Call, End, Returned, Sink, Stopped
from runcast.server.model.event import LogLine, Report, Severity
from runcast.server.model.run import Execution, StopCause

PATIENCE = 10.0


class ScriptedAttempt(Running):
    """One attempt: it runs until the test lets it end, ends when it is killed, and only notes that it is asked to stop.

    With `obeys` it ends when it is asked; with `unkillable` it is abandoned when it is killed and lives until `gone`.
    """

    def __init__(self, executor: "ScriptedExecutor", call: Call, sink: Sink) -> None:
        self.call = call
        self.sink = sink
        self.stops: list[tuple[StopCause, float]] = []
        self.kills = 0
        self.obeys = executor.obeys
        self.unkillable = executor.unkillable
        self.asked = asyncio.Event()
        self.killed = asyncio.Event()
        self.told: End | None = None
        self._executor = executor
        self._alive = True
        self._loop = asyncio.get_running_loop()

    @property
    def alive(self) -> bool:
        return self._alive

    def stop(self, cause: StopCause, grace: float) -> None:
        self.stops.append((cause, grace))
        self.asked.set()
        if self.obeys:
            self._loop.call_soon(self.end, Stopped())

    def kill(self) -> None:
        self.kills += 1
        self.killed.set()
        self._loop.call_soon(self._abandon if self.unkillable else self._die)

    # What a test lets it do.

    def end(self, end: End | None = None) -> None:
        """Come to an end, this one or a plain success; the slot comes free first. Nothing if it has ended."""
        if not self._alive:
            return
        self._alive = False
        self._executor.release()
        self._tell(Returned("null") if end is None else end)

    def gone(self) -> None:
        """Abandoned code returns at last."""
        assert self.told == Abandoned()
        self.end()

    def log(self, message: str) -> None:
        """Tell one line."""
        self.sink.report(LogLine(Severity.INFO, message))

    def report(self, *reports: Report) -> None:
        """Tell these."""
        for report in reports:
            self.sink.report(report)

    async def is_asked(self) -> tuple[StopCause, float]:
        """Why, and with how many seconds of grace, it was asked to stop, once it was."""
        await within(self.asked.wait())
        return self.stops[-1]

    async def is_killed(self) -> None:
        """Return once it was killed."""
        await within(self.killed.wait())

    def _die(self) -> None:
        self.end(Stopped(killed=True))

    def _abandon(self) -> None:
        if self._alive:
            self._tell(Abandoned())

    def _tell(self, end: End) -> None:
        if self.told is None:
            self.told = end
            self.sink.ended(end)


class ScriptedExecutor(Executor):
    """Keeps every attempt that it was given; with `instantly` each ends so, in the loop's next turn."""

    def __init__(self, kind: Execution, slots: int) -> None:
        self.kind = kind
        self.slots = slots
        self.attempts: list[ScriptedAttempt] = []
        self.obeys = False
        self.unkillable = False
        self.instantly: Callable[[Call], End] | None = None
        self.broken: Exception | None = None
        self.closed = False
        self._handed = 0
        self._started = asyncio.Event()

    def start(self, call: Call, sink: Sink) -> Running:
        if self.broken is not None:
            raise self.broken
        attempt = ScriptedAttempt(self, call, sink)
        self.attempts.append(attempt)
        self._started.set()
        loop = asyncio.get_running_loop()
        if self.closed:
            loop.call_soon(attempt.end, Stopped(killed=True))
        elif self.instantly is not None:
            loop.call_soon(attempt.end, self.instantly(call))
        return attempt

    async def close(self) -> None:
        self.closed = True
        for attempt in self.attempts:
            attempt.end(Stopped(killed=True))

    async def next(self) -> ScriptedAttempt:
        """The next attempt that nobody asked for yet, once it has started."""
        while len(self.attempts) <= self._handed:
            self._started.clear()
            await within(self._started.wait())
        self._handed += 1
        return self.attempts[self._handed - 1]

    @property
    def idle(self) -> bool:
        """Whether every attempt that was started was also asked for by the test."""
        return len(self.attempts) == self._handed


async def within(waiting: "asyncio.Future[object] | object", seconds: float = PATIENCE) -> None:
    """Wait for something that is to happen soon; TimeoutError where it does not."""
    async with asyncio.timeout(seconds):
        await waiting  # type: ignore[misc]  # any awaitable
