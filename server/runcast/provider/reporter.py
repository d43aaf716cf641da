"""One attempt's way to its run: takes reports from any thread, and turns a refusal into the end of the code."""

import asyncio
import concurrent.futures
import contextlib
import logging
import threading
import time
from abc import abstractmethod
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Protocol

from runcast.provider.clock import SYSTEM, Clock
from runcast.provider.errors import INVALID_ARGUMENT, UNKNOWN, Cancelled, ProviderError
from runcast.provider.lines import Lines
from runcast.provider.progress import Teller
from runcast.provider.text import attributes, clean
from runcast.server.model.call import ASKED_TO_STOP, Answer, Call, Question
from runcast.server.model.errors import Fenced, InvalidArgument, RuncastError
from runcast.server.model.event import LogLine, Report, Severity

GLANCE = 0.05
# How many reports a thread may be ahead of the loop, and how long it waits for a loop that does not move, in seconds.
MANY, PATIENCE = 256, 5.0
_log = logging.getLogger(__name__)


class Channel(Protocol):
    """Where a coroutine's reports go; called on the event loop's thread only, and each may raise Fenced."""

    def report(self, report: Report) -> None:
        """Take a report; never blocks."""

    async def commit(self, report: Report) -> None:
        """Take a report and return once it, and all before it, is durable."""

    async def drain(self) -> None:
        """Return once there is room for more reports."""

    async def answer(self, question: Question) -> Answer:
        """What comes of a question; RuncastError where it is refused."""


class BlockingChannel(Protocol):
    """Where a plain function's reports go, from any thread; each but `cancelled` may raise Fenced."""

    def report(self, report: Report) -> None:
        """Take a report; may wait while too many are on their way."""

    def commit(self, report: Report) -> None:
        """Take a report and return once it, and all before it, is durable."""

    def answer(self, question: Question) -> Answer:
        """What comes of a question; RuncastError where it is refused, for ASKED_TO_STOP where a wait ends for that."""

    def cancelled(self) -> bool:
        """Whether the attempt was asked to end."""


class Reporter:
    """What contexts, and captured output, tell through. Reports raise Cancelled once the attempt is over."""

    __slots__ = ("_lines", "_teller", "call", "clock", "ending", "over")

    def __init__(self, call: Call, clock: Clock = SYSTEM) -> None:
        self.call = call
        self.clock = clock
        self.over = ""
        self.ending = False
        self._teller: Teller | None = None
        self._lines: dict[str, Lines] | None = None

    @abstractmethod
    def deliver(self, report: Report) -> None:
        """Hand a report to the channel, from whatever thread this is called in."""

    @abstractmethod
    def later(self, delay: float, callback: Callable[[], None]) -> None:
        """Call back after `delay` seconds; at the latest when the attempt ends, or not at all."""

    @property
    @abstractmethod
    def cancelled(self) -> bool:
        """Whether the attempt was asked to end."""

    @abstractmethod
    def stop(self) -> BaseException:
        """What to raise in code that was asked to end."""

    def raise_if_cancelled(self) -> None:
        """End the code if it was asked to, or if its attempt is over."""
        if self.over:
            raise Cancelled(self.over)
        if self.cancelled:
            raise self.stop()

    def send(self, report: Report) -> None:
        """Tell; what the channel itself prints or logs is not the run's."""
        if self.over:
            raise Cancelled(self.over)
        token = current.set(None)
        try:
            self.deliver(report)
        except Fenced as error:
            raise self.fenced(error) from error
        finally:
            current.reset(token)

    def fenced(self, error: Fenced) -> Cancelled:
        """Nothing more is taken from this attempt: what to raise in its code."""
        self.over = error.message
        return Cancelled(error.message)

    def log(self, severity: Severity, message: str, logger: str, extra: dict[str, object]) -> None:
        """Tell a line of the log; too long ones are cut and say so."""
        self.send(LogLine(severity, clean(message), clean(logger, 256), attributes(extra)))

    @property
    def progress(self) -> Teller:
        """How far the attempt is."""
        if self._teller is None:
            self._teller = Teller(self.send, self.later, self.clock)
        return self._teller

    def lines(self, stream: str, severity: Severity) -> Lines:
        """The text written to `stdout` or `stderr`."""
        if self._lines is None:
            self._lines = {}
        found = self._lines.get(stream)
        if found is None:
            found = self._lines[stream] = Lines(lambda line: self.log(severity, line, stream, {}))
        return found

    def flush(self) -> None:
        """Tell what waits: progress that was coalesced, and lines without an end."""
        if self._teller is not None:
            self._teller.flush()
        if self._lines is not None:
            for lines in self._lines.values():
                lines.close()

    def close(self) -> None:
        """The code has ended: flush, and take nothing more. Never raises."""
        if (self._teller is not None or self._lines is not None) and not self.over:
            try:
                self.flush()
            except Cancelled:
                return
            except Exception as error:  # noqa: BLE001 - how the code ended matters more than its last progress
                self.over = "the attempt is over"
                _log.warning("what an attempt said last could not be told", exc_info=error)
        self.over = self.over or "the attempt is over"


class LoopReporter(Reporter):
    """For a coroutine; `task` is the one that runs it, `asked` what else says that it is to end."""

    __slots__ = ("_ahead", "_report", "_thread", "asked", "channel", "loop", "task")

    def __init__(
        self,
        call: Call,
        channel: Channel,
        clock: Clock = SYSTEM,
        *,
        loop: asyncio.AbstractEventLoop | None = None,
        task: asyncio.Task[Any] | None = None,
        asked: Callable[[], bool] | None = None,
    ) -> None:
        super().__init__(call, clock)
        self.channel = channel
        self.loop = loop
        self.task = task
        self.asked = asked
        self._report = channel.report
        self._thread = threading.get_ident()
        self._ahead = 0

    def deliver(self, report: Report) -> None:
        """At once on the loop's thread, and soon from another, which waits now and then until the loop has caught up."""
        if self.loop is None or threading.get_ident() == self._thread:
            self._report(report)
            return
        try:
            self.loop.call_soon_threadsafe(self._from_thread, report)
            self._ahead += 1
            if self._ahead % MANY == 0:
                room = asyncio.run_coroutine_threadsafe(self._room(), self.loop)
                room.result(PATIENCE)
        except TimeoutError:
            return  # the loop may be waiting for this very thread
        except (RuntimeError, concurrent.futures.CancelledError):
            raise Cancelled("the server has ended") from None

    def later(self, delay: float, callback: Callable[[], None]) -> None:
        """By a timer of the loop."""
        loop = self.loop or asyncio.get_running_loop()
        if threading.get_ident() == self._thread:
            loop.call_later(delay, self._quietly, callback)
        else:
            loop.call_soon_threadsafe(loop.call_later, delay, self._quietly, callback)

    @property
    def cancelled(self) -> bool:
        """Whether its task is being cancelled."""
        if self.task is not None and self.task.cancelling():
            return True
        return self.asked is not None and self.asked()

    def stop(self) -> BaseException:
        """As the loop itself does it."""
        return asyncio.CancelledError("the attempt was asked to stop")

    async def commit(self, report: Report) -> None:
        """Return once the report is durable; also while the code ends, as its last act."""
        if self.over:
            raise Cancelled(self.over)
        token = current.set(None)
        try:
            await self.channel.commit(report)
        except Fenced as error:
            raise self.fenced(error) from error
        finally:
            current.reset(token)

    async def ask(self, question: Question) -> Answer:
        """What comes of a question; ProviderError where it is refused."""
        if self.over:
            raise Cancelled(self.over)
        token = current.set(None)
        try:
            return await self.channel.answer(question)
        except Fenced as error:
            raise self.fenced(error) from error
        except RuncastError as error:
            if error.reason != ASKED_TO_STOP:
                raise refusal(error) from error
            if self.task is not None:
                self.cancel(self.task)
            await asyncio.sleep(0)
            raise self.stop() from None
        finally:
            current.reset(token)

    async def drain(self) -> None:
        """Give the loop a turn, and wait until there is room for more reports."""
        if self.over:
            raise Cancelled(self.over)
        if self.task is not None and self.asked is not None and self.asked():
            self.cancel(self.task)
        await asyncio.sleep(0)
        try:
            await self.channel.drain()
        except Fenced as error:
            raise self.fenced(error) from error

    @staticmethod
    def cancel(task: asyncio.Task[Any]) -> None:
        """Cancel, but once: what the coroutine does to clean up is not broken off again."""
        if not task.cancelling():
            task.cancel("the attempt was asked to stop")

    async def sleep(self, seconds: float) -> None:
        """Wait, as the loop does."""
        await asyncio.sleep(seconds)

    async def _room(self) -> None:
        await self.channel.drain()

    def _from_thread(self, report: Report) -> None:
        if not self.over:
            self._quietly(lambda: self._report(report))

    def _quietly(self, callback: Callable[[], None]) -> None:
        """On the loop there is nobody to end: the code hears of it when it tells the next thing."""
        if self.over:
            return
        try:
            callback()
        except Fenced as error:
            self.fenced(error)
        except Cancelled:
            return


class BlockingReporter(Reporter):
    """For a plain function, and for the threads that it starts."""

    __slots__ = ("_timer", "channel")

    def __init__(self, call: Call, channel: BlockingChannel, clock: Clock = SYSTEM) -> None:
        super().__init__(call, clock)
        self.channel = channel
        self._timer: threading.Timer | None = None

    def deliver(self, report: Report) -> None:
        """At once: the channel is made for any thread."""
        self.channel.report(report)

    def later(self, delay: float, callback: Callable[[], None]) -> None:
        """By a thread: the function's own may be busy."""
        self._timer = threading.Timer(delay, self._quietly, [callback])
        self._timer.daemon = True
        with contextlib.suppress(RuntimeError):  # no thread to be had: then it is told with the next report
            self._timer.start()

    @property
    def cancelled(self) -> bool:
        """Whether the channel says so."""
        return self.channel.cancelled()

    def stop(self) -> BaseException:
        """What passes by `except Exception`."""
        return Cancelled("the attempt was asked to stop")

    def commit(self, report: Report) -> None:
        """Return once the report is durable; also while the code ends, as its last act."""
        if self.over:
            raise Cancelled(self.over)
        token = current.set(None)
        try:
            self.channel.commit(report)
        except Fenced as error:
            raise self.fenced(error) from error
        finally:
            current.reset(token)
        self.glance()

    def ask(self, question: Question) -> Answer:
        """What comes of a question; ProviderError where it is refused."""
        if self.over:
            raise Cancelled(self.over)
        self.glance()
        token = current.set(None)
        try:
            answer = self.channel.answer(question)
        except Fenced as error:
            raise self.fenced(error) from error
        except RuncastError as error:
            if error.reason != ASKED_TO_STOP:
                raise refusal(error) from error
            self.ending = True
            raise self.stop() from None
        finally:
            current.reset(token)
        self.glance()
        return answer

    def glance(self) -> None:
        """End the code if it was asked to, but once only: what it does to clean up is not broken off again."""
        if self.over or (self.cancelled and not self.ending):
            self.ending = True
            self.raise_if_cancelled()

    def sleep(self, seconds: float) -> None:
        """Wait, and look now and then whether to end."""
        end = time.monotonic() + seconds
        while True:
            self.glance()
            left = end - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, GLANCE))

    def close(self) -> None:
        """Also without a timer left behind."""
        if self._timer is not None:
            self._timer.cancel()
        super().close()

    def _quietly(self, callback: Callable[[], None]) -> None:
        if self.over:
            return
        try:
            callback()
        except Cancelled:
            return


def refusal(error: RuncastError) -> ProviderError:
    """What a provider asked for cannot be had: its own to handle, and else the end of its attempt."""
    wrong = error.reason == InvalidArgument.reason
    code = INVALID_ARGUMENT if wrong else UNKNOWN
    return ProviderError(error.message, reason=error.reason, code=code, retryable=not wrong)


current: ContextVar[Reporter | None] = ContextVar("runcast_reporter")
"""Whose code this is. Not set: nobody's, or in a process that runs one attempt, that attempt's. None: the server's own."""
