"""What every executor owes to the engine while nobody asks an attempt to stop."""

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest

from runcast.server.executor.attempt import LocalExecutor
from runcast.server.model.call import Call, Raised, Returned
from runcast.server.model.event import SaveCheckpoint
from runcast.server.model.run import Execution, StopCause
from tests.executor.code import line
from tests.executor.conftest import holdings
from tests.executor.recorder import Recorder, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


def call(provider: str, code_input: str = "null", **labels: str) -> Call:
    """The first attempt of a run of this code."""
    return Call("run-1", 1, provider, code_input, labels=labels)


async def ended(executor: LocalExecutor, what: Call) -> Recorder:
    """What was recorded of an attempt that ends by itself."""
    recorder = Recorder()
    assert executor.acquire()
    executor.start(what, recorder)
    await recorder.end()
    return recorder


async def test_it_says_what_it_is_and_starts_with_all_slots_free(executor: LocalExecutor) -> None:
    assert executor.kind in (Execution.ASYNC, Execution.THREAD, Execution.PROCESS)
    assert (executor.slots, executor.taken, executor.free) == (4, 0, 4)


async def test_a_result_arrives(executor: LocalExecutor) -> None:
    assert (await ended(executor, call("answer"))).ends == [Returned("42")]


async def test_a_result_of_several_mebibytes_arrives_whole(executor: LocalExecutor) -> None:
    size = 5 * 1024 * 1024
    assert (await ended(executor, call("big", str(size)))).ends == [Returned('"' + "x" * size + '"')]


async def test_input_of_several_mebibytes_arrives_whole(executor: LocalExecutor) -> None:
    recorder = await ended(executor, call("count", "3" + " " * 3 * 1024 * 1024))
    assert recorder.lines == ["0", "1", "2"]


async def test_an_exception_arrives_with_its_traceback(executor: LocalExecutor) -> None:
    end = (await ended(executor, call("fail"))).ends[0]
    assert isinstance(end, Raised)
    assert (end.error.reason, end.error.message) == ("PROVIDER_EXCEPTION", "no such luck")
    assert 'raise ValueError("no such luck")' in end.traceback


async def test_code_that_exits_ends_its_attempt_and_not_the_server(executor: LocalExecutor) -> None:
    end = (await ended(executor, call("leave"))).ends[0]
    assert isinstance(end, Raised)
    assert "SystemExit" in end.error.message


async def test_code_that_stops_although_nobody_asked_has_failed(executor: LocalExecutor) -> None:
    end = (await ended(executor, call("give_up"))).ends[0]
    assert isinstance(end, Raised)
    assert end.error.reason == "PROVIDER_STOPPED"


async def test_code_that_is_not_known_has_failed(executor: LocalExecutor) -> None:
    assert isinstance((await ended(executor, call("nobody"))).ends[0], Raised)
    assert executor.taken == 0


@pytest.mark.parametrize("number", [1, 1_000])
async def test_reports_arrive_in_order_and_before_the_end(executor: LocalExecutor, number: int) -> None:
    recorder = await ended(executor, call("count", str(number)))
    assert recorder.lines == [str(n) for n in range(number)]


async def test_a_commit_returns_only_when_the_report_is_durable(executor: LocalExecutor) -> None:
    recorder = Recorder()
    recorder.durable.clear()
    executor.acquire()
    executor.start(call("save"), recorder)
    await recorder.until(lambda: SaveCheckpoint(b"state") in recorder.story)
    assert recorder.lines == ["before"]
    recorder.durable.set()
    await recorder.end()
    assert recorder.story[1:3] == [SaveCheckpoint(b"state"), "durable"]
    assert recorder.lines == ["before", "after"]


async def test_start_returns_before_the_attempt_has_ended(executor: LocalExecutor) -> None:
    recorder = Recorder()
    executor.acquire()
    executor.start(call("answer"), recorder)
    assert recorder.ends == []
    await recorder.end()


async def test_slots_are_given_until_there_are_none(executor: LocalExecutor) -> None:
    assert [executor.acquire() for _ in range(5)] == [True, True, True, True, False]
    assert executor.free == 0
    executor.release()
    assert executor.acquire()
    for _ in range(4):
        executor.release()
    assert executor.free == 4


async def test_a_slot_is_free_again_before_the_end_is_told(executor: LocalExecutor) -> None:
    recorder, free = Recorder(), []
    recorder.at_end = lambda: free.append(executor.free)
    executor.acquire()
    executor.start(call("answer"), recorder)
    assert executor.free == 3
    await recorder.end()
    assert free == [4]


async def test_who_waits_for_a_slot_hears_of_each_that_comes_free(executor: LocalExecutor) -> None:
    heard: list[int] = []
    executor.on_free = lambda: heard.append(executor.free)
    for _ in range(3):
        await ended(executor, call("answer"))
    executor.acquire()
    executor.release()
    assert heard == [4, 4, 4, 4]


async def test_an_end_reaches_its_sink_although_the_one_who_waits_for_a_slot_fails(
    executor: LocalExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("nobody is there")

    executor.on_free = fail
    assert (await ended(executor, call("answer"))).ends == [Returned("42")]
    executor.on_free = lambda: None


async def test_attempts_run_side_by_side(executor: LocalExecutor) -> None:
    recorders = [Recorder() for _ in range(4)]
    running = []
    for recorder in recorders:
        executor.acquire()
        running.append(executor.start(call("obey"), recorder))
    for recorder in recorders:
        await recorder.line("started")
    assert executor.free == 0
    for attempt in running:
        attempt.stop(StopCause.CANCEL, 5)
    for recorder in recorders:
        await recorder.end()
    assert executor.free == 4


async def test_an_endless_producer_waits_while_its_sink_is_congested(
    executor: LocalExecutor, tmp_path: Path
) -> None:
    tally = tmp_path / "tally"
    tally.write_bytes(b"%12d" % 0)
    recorder = Recorder()
    recorder.roomy.clear()
    executor.acquire()
    running = executor.start(call("pour", tally=str(tally)), recorder)

    async def stalled() -> int:
        numbers = [-1, 0]
        while not (numbers[-1] > 0 and len(set(numbers[-8:])) == 1):
            await asyncio.sleep(0.03)
            numbers.append(int(tally.read_bytes()))
        assert all(before <= after for before, after in pairwise(numbers[1:]))
        return numbers[-1]

    before = await stalled()
    assert before < 20_000
    recorder.roomy.set()
    await eventually(lambda: int(tally.read_bytes()) > 2 * before)
    running.stop(StopCause.CANCEL, 10)
    await recorder.end()


async def test_an_endless_producer_leaves_the_loop_to_others(executor: LocalExecutor, tmp_path: Path) -> None:
    tally = tmp_path / "tally"
    tally.write_bytes(b"%12d" % 0)
    recorder, turns = Recorder(), 0
    executor.acquire()
    running = executor.start(call("pour", tally=str(tally)), recorder)
    while len(recorder.lines) < 20_000:
        await asyncio.sleep(0)
        turns += 1
    running.stop(StopCause.CANCEL, 10)
    await recorder.end()
    assert turns > 20


async def test_a_report_that_the_sink_refuses_is_refused_to_the_code(executor: LocalExecutor) -> None:
    recorder = Recorder()
    executor.acquire()
    executor.start(call("insist"), recorder)
    await recorder.line("still here")
    recorder.fenced = True
    assert await recorder.end() == Returned('"FENCED"')


async def test_a_report_that_is_refused_for_what_it_holds_is_not_lost_in_silence(
    executor: LocalExecutor,
) -> None:
    recorder = Recorder()
    recorder.unwanted = [line("1")]
    executor.acquire()
    executor.start(call("count", "3"), recorder)
    end = await recorder.end()
    if executor.kind is Execution.ASYNC:
        assert isinstance(end, Raised)
        assert "not this one" in end.error.message
    else:
        assert end == Returned("null")
        assert recorder.lines == ["0", "a report was refused: report: not this one", "2"]


async def test_an_attempt_that_cannot_begin_ends_and_gives_its_slot_back(
    executor: LocalExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_attempt: object) -> None:
        raise MemoryError

    monkeypatch.setattr(type(executor.attempt(call("answer"), Recorder())), "begin", fail)
    recorder = Recorder()
    executor.acquire()
    executor.start(call("answer"), recorder)
    assert recorder.ends == []
    assert isinstance(await recorder.end(), Raised)
    assert executor.taken == 0


async def test_a_commit_that_the_sink_refuses_is_refused_to_the_code(executor: LocalExecutor) -> None:
    recorder = Recorder()
    executor.acquire()
    executor.start(call("save_again"), recorder)
    await recorder.until(lambda: "durable" in recorder.story)
    recorder.fenced = True
    assert await recorder.end() == Returned('"FENCED"')


async def test_a_hundred_attempts_in_a_row_leave_nothing_behind(executor: LocalExecutor) -> None:
    await ended(executor, call("count", "1"))
    before = holdings()
    for _ in range(100):
        await ended(executor, call("count", "10"))
    await eventually(lambda: holdings() == before)


async def test_it_may_be_closed_twice(fresh: LocalExecutor) -> None:
    await fresh.close()
    await fresh.close()


async def test_closing_ends_what_runs(fresh: LocalExecutor) -> None:
    recorder = Recorder()
    fresh.acquire()
    fresh.start(call("obey"), recorder)
    await recorder.line("started")
    await fresh.close()
    assert len(recorder.ends) == 1


async def test_an_attempt_that_is_started_after_the_closing_ends_at_once(fresh: LocalExecutor) -> None:
    await fresh.close()
    recorder = Recorder()
    fresh.acquire()
    fresh.start(call("answer"), recorder)
    await recorder.end()
    assert fresh.taken == 0
