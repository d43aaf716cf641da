"""What every executor owes to code that asks for children: its answer, its slot to others while it waits, and an end."""

import asyncio
from collections.abc import Callable

import pytest

from runcast.server.executor.attempt import LocalExecutor
from runcast.server.model.call import (
    Answer,
    AwaitChildren,
    ChildEnd,
    ChildrenEnded,
    ChildStarted,
    Question,
    Returned,
    StartChild,
    Stopped,
)
from runcast.server.model.errors import FailedPrecondition, Fenced, RuncastError
from runcast.server.model.event import Report
from runcast.server.model.run import State, StopCause
from tests.executor.recorder import Recorder, eventually
from tests.executor.test_conformance import call

pytestmark = pytest.mark.asyncio(loop_scope="module")
START, AWAIT = StartChild("key", "work", input="{}"), AwaitChildren(("child",))


class Asked(Recorder):
    """Answers waits when the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.over = asyncio.Event()
        self.waits = 0
        self.answers = self.told
        self.look: Callable[[], None] = lambda: None

    def report(self, report: Report) -> None:
        self.look()
        super().report(report)

    async def told(self, question: Question) -> Answer:
        if isinstance(question, StartChild):
            return ChildStarted("child", created=True)
        self.waits += 1
        try:
            await self.over.wait()
        finally:
            self.waits -= 1
        return ChildrenEnded((ChildEnd("child", State.SUCCEEDED, "42"),))


async def test_a_question_gets_its_answer(executor: LocalExecutor) -> None:
    recorder = Asked()
    recorder.over.set()
    executor.acquire()
    executor.start(call("ask"), recorder)
    assert await recorder.end() == Returned("null")
    assert recorder.story[:2] == [START, AWAIT]
    assert recorder.lines == ["ChildStarted(run_id='child', created=True) 42"]


@pytest.mark.parametrize("error", [FailedPrecondition("r", "closed", reason="PARENT_CLOSED"), Fenced("over")])
async def test_a_question_that_is_refused_says_why(executor: LocalExecutor, error: RuncastError) -> None:
    async def refuse(_question: Question) -> Answer:
        raise error

    recorder = Recorder()
    recorder.answers = refuse
    executor.acquire()
    executor.start(call("ask"), recorder)
    assert await recorder.end() == Returned(f'"{error.reason}"')


async def test_code_that_waits_lends_its_slot_and_has_it_back_at_once(executor: LocalExecutor) -> None:
    heard: list[int] = []
    executor.on_free = lambda: heard.append(executor.free)
    recorder = Asked()
    executor.acquire()
    executor.start(call("ask"), recorder)
    assert executor.free == 3
    await eventually(lambda: executor.free == 4)
    assert heard == [4]
    assert [executor.acquire() for _ in range(5)] == [True, True, True, True, False]
    frees: list[int] = []
    recorder.at_end = lambda: frees.append(executor.free)
    recorder.look = lambda: frees.append(executor.free)
    recorder.over.set()
    await recorder.end()
    assert frees == [-1, 0]
    assert not executor.acquire()
    for _ in range(4):
        executor.release()
    assert executor.taken == 0


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_a_wait_ends_at_once_with_its_attempt_and_every_slot_is_there(
    executor: LocalExecutor, how: str
) -> None:
    recorder = Asked()
    executor.acquire()
    running = executor.start(call("wait_twice"), recorder)
    await eventually(lambda: executor.taken == 0)
    if how == "stop":
        running.stop(StopCause.CANCEL, 600)
        await recorder.line("ASKED_TO_STOP")
        recorder.over.set()  # what waits while it tidies up is not broken off again
    else:
        running.kill()
    end = await recorder.end()
    if how == "stop":
        assert end == Stopped()
    recorder.over.set()
    await eventually(lambda: executor.taken == 0 and recorder.waits == 0)
