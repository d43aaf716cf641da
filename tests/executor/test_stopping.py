"""What every executor owes to the engine when it asks an attempt to stop, or kills it."""

import asyncio
import random
from pathlib import Path

import pytest

from runcast.server.executor.abc import Running
from runcast.server.executor.attempt import LocalExecutor
from runcast.server.model.call import Abandoned, Call, Raised, Returned, Stopped
from runcast.server.model.run import Execution, StopCause
from tests.executor.recorder import Recorder, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def started(executor: LocalExecutor, provider: str, **labels: str) -> tuple[Running, Recorder]:
    """An attempt whose code has begun."""
    recorder = Recorder()
    assert executor.acquire()
    running = executor.start(Call("run-1", 1, provider, "null", labels=labels), recorder)
    await recorder.line("started")
    return running, recorder


@pytest.mark.parametrize("cause", StopCause)
async def test_code_that_obeys_stops_and_tidies_up(executor: LocalExecutor, cause: StopCause) -> None:
    running, recorder = await started(executor, "obey")
    running.stop(cause, 10)
    assert await recorder.end() == Stopped(killed=False)
    assert recorder.lines == ["started", "tidied"]
    assert executor.taken == 0


async def test_code_that_obeys_stops_also_without_any_grace(executor: LocalExecutor) -> None:
    running, recorder = await started(executor, "obey")
    running.stop(StopCause.CANCEL, 0)
    assert await recorder.end() == Stopped(killed=False)


async def test_a_result_that_comes_after_the_asking_is_a_result(executor: LocalExecutor) -> None:
    running, recorder = await started(executor, "finish_anyway")
    running.stop(StopCause.CANCEL, 10)
    assert await recorder.end() == Returned('"done"')


async def test_code_that_swallows_the_asking_runs_on(executor: LocalExecutor, release: Path) -> None:
    running, recorder = await started(executor, "refuse", release=str(release))
    running.stop(StopCause.CANCEL, 0.02)
    if executor.kind is not Execution.THREAD:
        await recorder.line("not now")
    release.touch()
    assert await recorder.end() == Returned("null")
    assert recorder.lines[-1] == "released"


async def test_an_attempt_is_asked_once_however_often_it_is_told(
    executor: LocalExecutor, release: Path
) -> None:
    running, recorder = await started(executor, "refuse", release=str(release))
    for _ in range(20):
        running.stop(StopCause.CANCEL, 0.02)
        await asyncio.sleep(0.005)
    release.touch()
    await recorder.end()
    assert recorder.lines.count("not now") <= 1


async def test_code_that_does_not_stop_is_killed_or_abandoned(executor: LocalExecutor, release: Path) -> None:
    running, recorder = await started(executor, "refuse", release=str(release))
    running.stop(StopCause.CANCEL, 0.02)
    running.kill()
    end = await recorder.end()
    if executor.kind is Execution.PROCESS:
        assert end == Stopped(killed=True)
        assert executor.taken == 0
    else:
        assert end == Abandoned()
        assert executor.taken == 1
        release.touch()
        await eventually(lambda: executor.taken == 0)
    assert len(recorder.ends) == 1


async def test_an_abandoned_attempt_keeps_its_slot_and_gives_it_back_once(
    executor: LocalExecutor, release: Path
) -> None:
    heard: list[int] = []
    executor.on_free = lambda: heard.append(executor.free)
    running, recorder = await started(executor, "refuse", release=str(release))
    running.kill()
    end = await recorder.end()
    assert isinstance(end, Stopped if executor.kind is Execution.PROCESS else Abandoned)
    if isinstance(end, Abandoned):
        running.kill()
        assert (executor.taken, heard) == (1, [])  # its code still runs
    release.touch()
    await eventually(lambda: executor.taken == 0)
    running.kill()
    running.stop(StopCause.CANCEL, 1)
    assert (executor.taken, heard) == (0, [4])


async def test_code_that_obeys_is_not_abandoned_when_it_is_killed_right_after_being_asked(
    executor: LocalExecutor,
) -> None:
    running, recorder = await started(executor, "obey")
    running.stop(StopCause.CANCEL, 0)
    running.kill()
    assert isinstance(await recorder.end(), Stopped)
    assert executor.taken == 0


async def test_killing_without_asking_first_ends_it_too(executor: LocalExecutor) -> None:
    running, recorder = await started(executor, "obey")
    running.kill()
    assert isinstance(await recorder.end(), Stopped)


async def test_an_attempt_that_is_stopped_before_its_code_has_begun_ends(executor: LocalExecutor) -> None:
    recorder = Recorder()
    executor.acquire()
    running = executor.start(Call("run-1", 1, "obey", "null"), recorder)
    running.stop(StopCause.CANCEL, 600)
    assert await recorder.end() == Stopped()
    assert executor.taken == 0


async def test_an_attempt_that_is_killed_before_its_code_has_begun_ends(executor: LocalExecutor) -> None:
    recorder = Recorder()
    executor.acquire()
    executor.start(Call("run-1", 1, "obey", "null"), recorder).kill()
    assert isinstance(await recorder.end(), Stopped)
    assert executor.taken == 0


async def test_after_the_end_both_verbs_do_nothing(executor: LocalExecutor) -> None:
    running, recorder = await started(executor, "obey")
    running.stop(StopCause.CANCEL, 5)
    await recorder.end()
    for _ in range(2):
        running.stop(StopCause.RELEASE, 5)
        running.kill()
    await asyncio.sleep(0.05)
    assert len(recorder.ends) == 1
    assert executor.taken == 0


async def test_a_commit_that_never_becomes_durable_does_not_keep_an_attempt_from_its_end(
    executor: LocalExecutor,
) -> None:
    recorder = Recorder()
    recorder.durable.clear()
    executor.acquire()
    running = executor.start(Call("run-1", 1, "save", "null"), recorder)
    await recorder.until(lambda: len(recorder.story) == 2)
    running.stop(StopCause.CANCEL, 0)
    running.kill()
    thread = executor.kind is Execution.THREAD
    assert await recorder.end() == (Abandoned() if thread else Stopped(executor.kind is Execution.PROCESS))
    recorder.durable.set()
    await eventually(lambda: executor.taken == 0)


async def test_an_attempt_that_is_asked_at_the_instant_of_its_return_ends_once(
    executor: LocalExecutor,
) -> None:
    dice = random.Random(7)
    for _ in range(60):
        recorder = Recorder()
        executor.acquire()
        running = executor.start(Call("run-1", 1, "count", "2"), recorder)
        loop = asyncio.get_running_loop()
        loop.call_later(dice.random() * 0.008, running.stop, StopCause.CANCEL, 0.001)
        loop.call_later(dice.random() * 0.010, running.kill)
        assert not isinstance(await recorder.end(), Raised)
        await eventually(lambda: executor.taken == 0)
        assert len(recorder.ends) == 1


async def test_closing_abandons_or_kills_what_does_not_stop(fresh: LocalExecutor, release: Path) -> None:
    _, recorder = await started(fresh, "refuse", release=str(release))
    await fresh.close()
    assert recorder.ends in ([Abandoned()], [Stopped(killed=True)])
