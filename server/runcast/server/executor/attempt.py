"""What the attempts of all executors have in common: they end once, and give their slot back before they say so."""

import asyncio
import logging
from abc import abstractmethod
from collections.abc import Callable
from functools import partial

from runcast.server.executor.abc import Executor, Running
from runcast.server.model.call import (
    ASKED_TO_STOP,
    Abandoned,
    Answer,
    AwaitChildren,
    Call,
    End,
    Question,
    Raised,
    Sink,
    Stopped,
)
from runcast.server.model.errors import Fenced, RuncastError
from runcast.server.model.event import LogLine, Report, Severity
from runcast.server.model.run import Error, StopCause

ABORTED, INTERNAL = 10, 13
_log = logging.getLogger(__name__)


class LocalExecutor(Executor):
    """An executor that knows its attempts: `running` holds each until its code has really ended."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.running: set[LocalAttempt] = set()
        self.closed = False

    def start(self, call: Call, sink: Sink) -> Running:
        """Begin the attempt; in an executor that is closed it ends as one that was killed by the closing."""
        loop = asyncio.get_running_loop()
        attempt = self.attempt(call, sink)
        self.running.add(attempt)
        try:
            if self.closed:
                loop.call_soon(attempt.finish, Stopped(killed=True))
            else:
                attempt.begin()
        except Exception as error:  # noqa: BLE001 - whatever keeps it from beginning, its end is told like any other
            loop.call_soon(attempt.finish, broken(error))
        return attempt

    @abstractmethod
    def attempt(self, call: Call, sink: Sink) -> "LocalAttempt":
        """A new attempt, not begun."""

    async def close(self) -> None:
        """Kill what runs and wait until every sink has heard of its end."""
        self.closed = True
        attempts = list(self.running)
        for attempt in attempts:
            attempt.kill()
        for attempt in attempts:
            await attempt.over()


class LocalAttempt(Running):
    """One attempt; `patience` is how long killed code may take to end before it is given up for abandoned.

    Code that waits for children for longer than `lends_after` seconds lends its slot, or they might never get one. It has
    it back at once when it goes on, also where all are taken: then nothing begins until enough have come free.
    """

    patience = 0.1
    lends_after = 0.05

    def __init__(self, executor: LocalExecutor, call: Call, sink: Sink) -> None:
        self.call = call
        self.sink = sink
        self.asked = False
        self.killed = False
        self.executor = executor
        self._ended = False
        self._over: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._asking: dict[asyncio.Task[Answer], Question] = {}
        self._waits = 0
        self._lent = False

    @abstractmethod
    def begin(self) -> None:
        """Set the code going; whatever goes wrong is told by `finish`, later."""

    @abstractmethod
    def ask(self, grace: float) -> None:
        """Let the code know that it is to end; called again when it is asked more urgently."""

    @abstractmethod
    def end_now(self) -> None:
        """Do what can be done to end the code at once."""

    @property
    def alive(self) -> bool:
        """Whether its executor still counts it."""
        return self in self.executor.running

    def stop(self, cause: StopCause, grace: float) -> None:
        """Ask, unless the attempt has ended; all causes are asked for in the same way."""
        if not self._ended and not self.killed:
            self.asked = True
            self.ask(grace)
            self._end_waits()

    def kill(self) -> None:
        """End the code; what has not ended after `patience` is abandoned."""
        if not self._ended and not self.killed:
            self.killed = True
            self.end_now()
            self._end_waits()
            self._timer = asyncio.get_running_loop().call_later(self.patience, self.abandon)

    def abandon(self) -> None:
        """Cut the code off from its run; its slot stays taken until it returns."""
        self._tell(Abandoned())

    def finish(self, end: End) -> None:
        """The code has really ended."""
        if self not in self.executor.running:
            return
        self.executor.running.discard(self)
        self._end_waits(all_questions=True)
        self._take_back()
        if isinstance(end, Stopped) and not (self.asked or self.killed):
            end = stopped_unasked()
        try:
            self.executor.release()
        finally:
            self._tell(end)

    async def report(self, report: Report) -> RuncastError | None:
        """Hand a report to the sink and return when it can take more; the error where it refuses.

        The code has gone on meanwhile: that a report was refused for what it holds, its run's log tells.
        """
        try:
            self._offer(report)
            await self.sink.drain()
        except RuncastError as error:
            return error
        except Exception as error:  # noqa: BLE001 - a sink that fails must not take the executor with it
            return _failed(error)
        return None

    def _offer(self, report: Report) -> None:
        try:
            self.sink.report(report)
        except Fenced:
            raise
        except RuncastError as error:
            told = LogLine(Severity.ERROR, f"a report was refused: {error.message}", "runcast")
            self.sink.report(told)

    async def commit(self, report: Report | None) -> RuncastError | None:
        """Hand a report to the sink and return once it is durable, or once there is room where it is None."""
        try:
            await (self.sink.drain() if report is None else self.sink.commit(report))
        except RuncastError as error:
            return error
        except Exception as error:  # noqa: BLE001 - see above
            return _failed(error)
        return None

    async def answer(self, question: Question) -> Answer:
        """What the sink answers; raises what it raises. The slot is lent while that is waited for."""
        if not isinstance(question, AwaitChildren):
            return await self.sink.answer(question)
        self._waits += 1
        lending = asyncio.get_running_loop().call_later(self.lends_after, self._lend)
        try:
            return await self.sink.answer(question)
        finally:
            lending.cancel()
            self._waits -= 1
            if not self._waits:
                self._take_back()

    def inquire(self, question: Question, reply: Callable[[Answer | RuncastError], object]) -> None:
        """The same for code that is elsewhere, and goes on telling meanwhile. A wait ends when the code is asked to stop."""
        task = asyncio.get_running_loop().create_task(self.answer(question))
        self._asking[task] = question
        task.add_done_callback(partial(self._answered, reply))

    def _answered(self, reply: Callable[[Answer | RuncastError], object], task: asyncio.Task[Answer]) -> None:
        del self._asking[task]
        if task.cancelled():
            reply(RuncastError("the attempt was asked to stop", reason=ASKED_TO_STOP))
            return
        error = task.exception()
        if error is None:
            reply(task.result())
        else:
            reply(error if isinstance(error, RuncastError) else _failed(error))

    def _end_waits(self, *, all_questions: bool = False) -> None:
        for task, question in [*self._asking.items()]:
            if all_questions or isinstance(question, AwaitChildren):
                task.cancel()

    def _lend(self) -> None:
        if not self._lent and self in self.executor.running:
            self._lent = True
            self.executor.release()

    def _take_back(self) -> None:
        if self._lent:
            self._lent = False
            self.executor.taken += 1

    async def over(self) -> None:
        """Return once the sink has heard of the end."""
        if not self._ended:
            self._over = self._over or asyncio.get_running_loop().create_future()
            await self._over

    def _tell(self, end: End) -> None:
        if self._ended:
            return
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        if self._over is not None:
            self._over.set_result(None)
        self.sink.ended(end)


def stopped_unasked() -> Raised:
    """The code ended as if it had been asked to."""
    return Raised(
        Error(ABORTED, "PROVIDER_STOPPED", "the provider's code stopped although nobody asked it to")
    )


def broken(error: BaseException) -> Raised:
    """The executor itself, or what it runs providers by, failed; the run must not hang for that."""
    _log.error("an attempt could not be run", exc_info=error)
    reason = error.reason if isinstance(error, RuncastError) else "EXECUTOR_FAILED"
    return Raised(Error(INTERNAL, reason, f"{type(error).__name__}: {error}"))


def _failed(error: BaseException) -> RuncastError:
    _log.error("the sink of an attempt failed", exc_info=error)
    return RuncastError(f"{type(error).__name__}: {error}")
