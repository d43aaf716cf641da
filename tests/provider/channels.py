"""Channels that keep what providers tell, and refuse it when a test wants that."""

from collections.abc import Callable
from typing import Any, TypeVar

from runcast.provider import Provider
from runcast.provider.runner import run_async, run_blocking
from runcast.server.model.call import Answer, Call, End, Question
from runcast.server.model.errors import Fenced
from runcast.server.model.event import LogLine, Report
from runcast.server.model.run import Checkpoint

T = TypeVar("T")


class Told:
    """What was told, in order; `committed` is the part that was waited for. Questions get `answers`. Refuses everything after `fence` reports."""

    def __init__(self, fence: int | None = None) -> None:
        self.reports: list[Report] = []
        self.committed: list[Report] = []
        self.questions: list[Question] = []
        self.answers: list[Answer | Exception] = []
        self.asked = False
        self.fence = fence
        self.on_report: Callable[[Report], None] = lambda report: None

    def of(self, kind: type[T]) -> list[T]:
        """The reports of one kind."""
        return [report for report in self.reports if isinstance(report, kind)]

    def lines(self) -> list[tuple[str, str]]:
        """Logger and message of each line."""
        return [(line.logger, line.message) for line in self.of(LogLine)]

    def report(self, report: Report) -> None:
        if self.fence is not None and len(self.reports) >= self.fence:
            raise Fenced("attempt 1 of run r is over")
        self.reports.append(report)
        self.on_report(report)

    def question(self, question: Question) -> Answer:
        self.questions.append(question)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def take(self, report: Report) -> None:
        self.report(report)
        self.committed.append(report)


class AsyncChannel(Told):
    """For coroutines on a loop."""

    drained = 0

    async def commit(self, report: Report) -> None:
        self.take(report)

    async def drain(self) -> None:
        self.drained += 1

    async def answer(self, question: Question) -> Answer:
        return self.question(question)


class BlockingChannel(Told):
    """For plain functions."""

    def commit(self, report: Report) -> None:
        self.take(report)

    def cancelled(self) -> bool:
        return self.asked

    def answer(self, question: Question) -> Answer:
        return self.question(question)


def call(input: str = "{}", checkpoint: bytes | None = None) -> Call:
    """A call of a provider named `test`."""
    saved = None if checkpoint is None else Checkpoint(1, checkpoint)
    return Call("r", 1, "test", input, checkpoint=saved, labels={"team": "a"}, deadline=99)


async def run(provider: Provider[..., Any], channel: AsyncChannel | None = None, input: str = "{}") -> End:
    """Run a coroutine on this loop."""
    return await run_async(provider, call(input), channel or AsyncChannel())


def run_plain(provider: Provider[..., Any], channel: BlockingChannel | None = None, input: str = "{}") -> End:
    """Run a plain function, or a coroutine on a loop of its own."""
    return run_blocking(provider, call(input), channel or BlockingChannel())
