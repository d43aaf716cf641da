"""Durable, then visible, then acknowledged; and what a store that fails may not spoil."""

import asyncio

import pytest

from runcast.server.engine.watching import Watch
from runcast.server.model.call import Returned
from runcast.server.model.errors import NotFound, RuncastError, Unavailable
from runcast.server.model.event import LogLine, Severity, StateChanged
from runcast.server.model.run import State
from tests.engine.conftest import Serve
from tests.engine.scripted import within
from tests.engine.server import Server, settle

POISON = LogLine(Severity.INFO, "poison")


def poisoned(server: Server) -> None:
    """The store cannot encode a change that tells POISON, as it could not an object of a wrong type."""
    save = server.store.inner.save

    async def checked(groups):  # type: ignore[no-untyped-def]  # as Repository.save
        bodies = [event.body for group in groups for change in group.changes for event in change.events]
        if POISON in bodies:
            raise TypeError("cannot encode this")
        return await save(groups)

    server.store.inner.save = checked  # type: ignore[method-assign]


async def test_a_store_that_cannot_be_written_is_said_once_and_not_for_each_call(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.store.fail("save", *[Unavailable("the disk is full")] * 3)
    for _ in range(3):
        with pytest.raises(Unavailable):
            await server.start()
    assert [record.getMessage() for record in caplog.records if "disk is full" in record.getMessage()] == [
        "nothing can be stored, and whoever asks for it is told to try again: the disk is full"
    ]
    await server.start()
    assert "the store can be written again" in caplog.text


async def test_a_new_run_is_visible_only_once_it_is_durable(server: Server) -> None:
    server.store.hold()
    starting = asyncio.create_task(server.start(run_id="mine"))
    await within(server.store.arrived.wait())
    await settle()
    with pytest.raises(NotFound):
        await server.get("mine")
    with pytest.raises(NotFound):
        await server.frames("mine")
    assert not starting.done()
    server.store.release()
    assert await starting == await server.get("mine")


async def test_no_watcher_sees_an_event_before_it_is_durable(server: Server) -> None:
    run, attempt = await server.running()
    seen: list[int] = []

    async def watch() -> None:
        async for sequence, _ in server.engine.watch(Watch(run_id=run.id)):
            seen.append(sequence)
            assert sequence <= (await server.store.inner.get(run.id)).last_sequence

    watching = asyncio.create_task(watch())
    for number in range(5):
        server.store.hold()
        attempt.log(f"line {number}")
        await within(server.store.arrived.wait())
        await settle()
        assert max(seen, default=3) == 3 + number
        server.store.release()
        await server.until(lambda number=number: seen[-1] == 4 + number)  # type: ignore[misc]
    attempt.end()
    await within(watching)


async def test_an_end_is_told_to_nobody_before_it_is_durable(server: Server) -> None:
    run, attempt = await server.running()
    waiting = asyncio.create_task(server.engine.wait(run.id, 10))
    server.store.hold()
    attempt.end(Returned('"done"'))
    await within(server.store.arrived.wait())
    await settle()
    assert not waiting.done()
    assert (await server.get(run.id)).state is State.RUNNING
    server.store.release()
    ended = await waiting
    assert ended == await server.store.inner.get(run.id)
    assert ended.outcome.output is not None
    assert ended.outcome.output.json == '"done"'


async def test_a_report_waits_for_a_store_that_is_away(server: Server) -> None:
    run, attempt = await server.running()
    server.store.fail("save", Unavailable("away"), Unavailable("still away"))
    attempt.log("one")
    await settle()
    attempt.log("two")
    attempt.end()
    await server.final(run.id)
    lines = [body.message for body in await server.told(run.id) if isinstance(body, LogLine)]
    assert lines == ["one", "two"]


async def test_what_cannot_be_stored_fails_its_own_attempt_and_no_other(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    poisoned(server)
    pairs = [await server.running() for _ in range(3)]
    server.store.hold()
    for _, attempt in pairs:
        attempt.log("good")
    await within(server.store.arrived.wait())
    pairs[1][1].report(POISON)
    for _, attempt in (pairs[0], pairs[2]):
        attempt.end()
    server.store.release()
    ends = [await server.final(run.id) for run, _ in pairs]
    assert [run.state for run in ends] == [State.SUCCEEDED, State.FAILED, State.SUCCEEDED]
    assert ends[1].outcome.error is not None
    assert ends[1].outcome.error.reason == "NOT_STORED"
    assert pairs[1][1].kills == 1
    await server.until(lambda: server.coroutines.taken == 0)
    assert LogLine(Severity.INFO, "good") in await server.told(ends[1].id)
    caplog.clear()


async def test_a_caller_who_waits_for_what_cannot_be_stored_hears_of_it(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    poisoned(server)
    run, attempt = await server.running()
    with pytest.raises(RuncastError):
        await attempt.sink.commit(POISON)
    assert (await server.final(run.id)).state is State.FAILED
    caplog.clear()


async def test_a_start_beside_what_cannot_be_stored_is_stored(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    poisoned(server)
    _, attempt = await server.running()
    server.store.hold()
    attempt.log("good")
    await within(server.store.arrived.wait())
    attempt.report(POISON)
    starting = asyncio.create_task(server.start())
    await settle()
    server.store.release()
    assert (await starting).state is State.RUNNING
    caplog.clear()


async def test_everything_that_waits_at_close_is_stored(serve: Serve) -> None:
    server = await serve()
    server.store.hold()
    starting = [asyncio.create_task(server.start()) for _ in range(3)]
    await within(server.store.arrived.wait())
    closing = asyncio.create_task(server.engine.close())
    await settle()
    assert not closing.done()
    server.store.release()
    runs = await asyncio.gather(*starting)
    await closing
    again = await serve()
    for run in runs:
        assert await again.told(run.id)


async def test_the_last_event_of_a_run_is_its_end(server: Server) -> None:
    run, attempt = await server.running()
    attempt.log("last words")
    attempt.end()
    await server.final(run.id)
    *_, end = await server.told(run.id)
    assert end == StateChanged(State.RUNNING, State.SUCCEEDED)
