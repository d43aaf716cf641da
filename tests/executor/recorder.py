"""A sink that remembers, can be made to stall or to refuse, and lets a test wait for what it expects."""

import asyncio
from collections.abc import Awaitable, Callable

from runcast.server.model.call import Answer, ChildStarted, End, Question
from runcast.server.model.errors import Fenced, InvalidArgument
from runcast.server.model.event import LogLine, Report

DEADLINE = 20


class Recorder:
    """Everything in the order in which it came: reports, then "durable" for each commit, then the end; the messages of log lines also apart."""

    def __init__(self) -> None:
        self.story: list[Report | Question | str] = []
        self.lines: list[str] = []
        self.ends: list[End] = []
        self.fenced = False
        self.unwanted: list[Report] = []
        self.roomy = asyncio.Event()
        self.roomy.set()
        self.durable = asyncio.Event()
        self.durable.set()
        self.at_end: Callable[[], None] = lambda: None
        self.answers: Callable[[Question], Awaitable[Answer]] = _started
        self._changed = asyncio.Event()

    # What an executor and its provider call.

    def report(self, report: Report) -> None:
        self._check()
        if report in self.unwanted:
            raise InvalidArgument.of("report", "not this one")
        self.story.append(report)
        if isinstance(report, LogLine):
            self.lines.append(report.message)
        self._changed.set()

    async def commit(self, report: Report) -> None:
        self.report(report)
        await self.durable.wait()
        self._check()
        self.story.append("durable")

    async def drain(self) -> None:
        await self.roomy.wait()

    async def answer(self, question: Question) -> Answer:
        self._check()
        self.story.append(question)
        self._changed.set()
        return await self.answers(question)

    def ended(self, end: End) -> None:
        self.ends.append(end)
        self.fenced = True
        self.at_end()
        self._changed.set()

    def _check(self) -> None:
        if self.fenced:
            raise Fenced("the attempt is not current")

    # What a test asks.

    async def until(self, true: Callable[[], object]) -> None:
        """Return once `true()` holds, which changes with what is told here."""
        async with asyncio.timeout(DEADLINE):
            while not true():
                self._changed.clear()
                await self._changed.wait()

    async def line(self, message: str) -> None:
        """Return once the code has logged this."""
        await self.until(lambda: message in self.lines or self.ends)
        assert message in self.lines, self.ends

    async def end(self) -> End:
        """How the attempt ended, once it has."""
        await self.until(lambda: self.ends)
        assert len(self.ends) == 1
        return self.ends[0]


async def eventually(true: Callable[[], object]) -> None:
    """Return once `true()` holds, which nothing here hears of."""
    async with asyncio.timeout(DEADLINE):
        while not true():
            await asyncio.sleep(0.005)


async def _started(_question: Question) -> Answer:
    return ChildStarted("child", created=True)
