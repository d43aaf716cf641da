"""Runs blocking providers in threads of the server, for those that must share its memory."""

import asyncio
import contextlib
import itertools
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from queue import Empty, SimpleQueue
from typing import NamedTuple, TypeVar

from runcast.provider.reporter import BlockingChannel
from runcast.server.executor.attempt import LocalAttempt, LocalExecutor, broken
from runcast.server.model.call import (
    Abandoned,
    Answer,
    Call,
    End,
    Question,
    Raised,
    Returned,
    Sink,
    Stopped,
)
from runcast.server.model.errors import Fenced, RuncastError
from runcast.server.model.event import Report
from runcast.server.model.run import Execution

# How many reports may wait between the thread and the loop before the thread waits.
MANY = 256


RunBlocking = Callable[[Call, BlockingChannel], End]


class ThreadExecutor(LocalExecutor):
    """One thread per attempt, which nothing can stop from outside: it looks whether it is asked to, or is abandoned."""

    kind = Execution.THREAD

    def __init__(self, run: RunBlocking, slots: int = 32) -> None:
        super().__init__(slots)
        self.run = run
        self.pumps: set[asyncio.Task[None]] = set()

    def attempt(self, call: Call, sink: Sink) -> LocalAttempt:
        """A thread, not yet started."""
        return _ThreadAttempt(self, self.run, call, sink)

    async def close(self) -> None:
        """Abandon the threads that do not end; they cannot keep the process from exiting."""
        await super().close()
        pumps = list(self.pumps)
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


class _ThreadAttempt(LocalAttempt):
    def __init__(self, executor: ThreadExecutor, run: RunBlocking, call: Call, sink: Sink) -> None:
        super().__init__(executor, call, sink)
        self._run = run
        self._crossing = _Crossing()
        self._pumps = executor.pumps

    def begin(self) -> None:
        pump = asyncio.get_running_loop().create_task(self._pump(), name=f"reports of run {self.call.run_id}")
        self._pumps.add(pump)
        pump.add_done_callback(self._pumps.discard)
        try:
            # A daemon: a thread that is stuck must not keep the server from exiting.
            threading.Thread(target=self._code, name=f"run {self.call.run_id}", daemon=True).start()
        except RuntimeError as error:
            self._crossing.end(broken(error))

    def ask(self, grace: float) -> None:
        self._crossing.asked = True

    def end_now(self) -> None:
        self._crossing.asked = True

    def abandon(self) -> None:
        super().abandon()
        self._crossing.cut = "the attempt was abandoned: it did not stop when it was asked to"

    def _code(self) -> None:
        try:
            end = Stopped() if self._crossing.asked else self._run(self.call, self._crossing)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the slot must come back and the run must end
            end = broken(error)
        self._crossing.end(end)

    async def _pump(self) -> None:
        try:
            async for item in self._crossing.items():
                if isinstance(item, Wait):
                    item.answer.put(self._refusal(await self.commit(item.report)))
                elif isinstance(item, Asked):
                    self.inquire(item.question, item.answer.put)
                elif isinstance(item, Returned | Raised | Stopped | Abandoned):
                    self.finish(item)
                    return
                else:
                    self._refusal(await self.report(item))
        finally:
            self._crossing.close()

    def _refusal(self, error: RuncastError | None) -> RuncastError | None:
        if isinstance(error, Fenced):
            self._crossing.cut = error.message
        return error


class Wait(NamedTuple):
    """Something that the thread waits for: a report to be durable, or room for more reports where it is None."""

    report: Report | None
    answer: SimpleQueue[RuncastError | None]


class Asked(NamedTuple):
    """A question of the thread, which waits for its answer."""

    question: Question
    answer: SimpleQueue[Answer | RuncastError]


Item = Report | Wait | Asked | End
T = TypeVar("T")


class _Crossing:
    """The way from the thread to the loop: a queue that wakes the loop once for many reports."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._items: deque[Item] = deque()
        self._awake = asyncio.Event()
        self._waking = False
        self.asked = False
        self.cut = ""

    # In the thread.

    def report(self, report: Report) -> None:
        self._put(report)
        if len(self._items) > MANY:
            self._wait(None)

    def commit(self, report: Report) -> None:
        self._wait(report)

    def answer(self, question: Question) -> Answer:
        answers: SimpleQueue[Answer | RuncastError] = SimpleQueue()
        self._put(Asked(question, answers))
        answer = self._heard(answers)
        if isinstance(answer, RuncastError):
            raise answer
        return answer

    def cancelled(self) -> bool:
        return self.asked

    def end(self, end: End) -> None:
        with contextlib.suppress(Fenced):
            self._append(end)

    def _wait(self, report: Report | None) -> None:
        answer: SimpleQueue[RuncastError | None] = SimpleQueue()
        self._put(Wait(report, answer))
        error = self._heard(answer)
        if error is not None:
            raise error

    def _heard(self, answers: SimpleQueue[T]) -> T:
        while True:
            with contextlib.suppress(Empty):
                return answers.get(timeout=1)
            self._check()  # nobody may be left to answer

    def _check(self) -> None:
        if self.cut:
            raise Fenced(self.cut)

    def _put(self, item: Item) -> None:
        self._check()
        self._append(item)

    def _append(self, item: Item) -> None:
        self._items.append(item)
        if not self._waking:
            self._waking = True
            try:
                self._loop.call_soon_threadsafe(self._awake.set)
            except RuntimeError:
                raise Fenced("the server has ended") from None

    # On the loop.

    async def items(self) -> AsyncIterator[Item]:
        while True:
            await self._awake.wait()
            self._awake.clear()
            self._waking = False  # before the queue is emptied: what comes in from now on wakes again
            for number in itertools.count(1):
                if not self._items:
                    break
                yield self._items.popleft()
                if number % MANY == 0:
                    await asyncio.sleep(0)  # an endless producer must not keep the loop to itself

    def close(self) -> None:
        self.cut = self.cut or "the attempt is over"
        self._items.clear()
