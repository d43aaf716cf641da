"""What an attempt tells: folded while a commit is on its way, numbered without a gap, refused once it is over."""

import asyncio

import pytest

from runcast.server.engine import pending
from runcast.server.model.call import Abandoned, Raised, Returned, Stopped
from runcast.server.model.errors import Fenced, InvalidArgument, RuncastError
from runcast.server.model.event import (
    CheckpointSaved,
    LogLine,
    OutputChunk,
    SaveCheckpoint,
    Severity,
    Summary,
)
from runcast.server.model.run import EntityRef, Error, Failure, Progress, State
from tests.engine.conftest import on_each_store
from tests.engine.scripted import ScriptedAttempt, within
from tests.engine.server import Server, settle


def lines_of(bodies: list[object]) -> list[str]:
    """The texts of the log lines."""
    return [body.message for body in bodies if isinstance(body, LogLine)]


@on_each_store
async def test_reports_made_while_a_commit_is_on_its_way_are_one_change(server: Server) -> None:
    run, attempt = await server.running()
    server.store.hold()
    attempt.log("0")
    await within(server.store.arrived.wait())
    for number in range(1, 500):
        attempt.log(str(number))
        if number % 100 == 0:
            await settle()
    server.store.release()
    attempt.end()
    await server.final(run.id)
    assert lines_of([*await server.told(run.id)]) == [str(number) for number in range(500)]
    batches = [len(group.changes[0].events) for groups in server.store.saved for group in groups]
    assert batches == [3, 1, 499 + 2]


async def test_reports_of_one_turn_are_one_change(server: Server) -> None:
    run, attempt = await server.running()
    attempt.report(Progress(0.5), EntityRef("file", "a"), Failure("b"), Summary("so far"))
    await server.until(lambda: len(server.store.saved) == 2)
    now = await server.get(run.id)
    assert now.version == 1
    assert now.progress == Progress(0.5)
    assert now.outcome.refs == (EntityRef("file", "a"),)
    assert now.outcome.failures == (Failure("b"),)
    assert now.outcome.summary == "so far"
    assert now.last_sequence == 3 + 3


async def test_a_report_is_a_sign_of_life(server: Server) -> None:
    run, attempt = await server.running()
    server.clock.advance(5)
    attempt.log("alive")
    await server.until(lambda: len(server.store.saved) == 2)
    current = (await server.get(run.id)).current
    assert current is not None
    assert current.heartbeat_time == server.clock.now()


@on_each_store
async def test_commit_returns_only_once_its_report_and_all_before_are_durable(server: Server) -> None:
    run, attempt = await server.running("resuming")
    server.store.hold()
    attempt.log("before")
    committing = asyncio.create_task(attempt.sink.commit(SaveCheckpoint(b"here")))
    await within(server.store.arrived.wait())
    await settle()
    assert not committing.done()
    server.store.release()
    await within(committing)
    assert await server.store.inner.checkpoint(run.id) is not None
    told = await server.told(run.id)
    assert lines_of([*told]) == ["before"]
    assert told[-1] == CheckpointSaved(1, 4)


async def test_a_commit_that_nobody_waits_for_any_more_is_stored(server: Server) -> None:
    run, attempt = await server.running("resuming")
    server.store.hold()
    committing = asyncio.create_task(attempt.sink.commit(SaveCheckpoint(b"here")))
    await within(server.store.arrived.wait())
    committing.cancel()
    await asyncio.wait([committing])
    server.store.release()
    await server.until(lambda: len(server.store.saved) == 2)
    assert await server.store.inner.checkpoint(run.id) is not None


async def test_a_provider_that_is_killed_while_it_commits_leaves_no_error_behind(server: Server) -> None:
    run, attempt = await server.running("resuming")
    server.store.hold()
    committing = asyncio.create_task(attempt.sink.commit(SaveCheckpoint(b"here")))
    await within(server.store.arrived.wait())
    server.engine._ownership.fence_all()
    await attempt.is_killed()
    server.store.release()
    await asyncio.wait([committing])
    assert committing.exception() is None or isinstance(committing.exception(), Fenced)
    assert (await server.get(run.id)).version == 1


@pytest.mark.parametrize(
    "end", [Returned("null"), Raised(Error(2, "X", "x")), Stopped(), Stopped(killed=True), Abandoned()]
)
async def test_after_its_end_an_attempt_is_fenced(server: Server, end: object) -> None:
    run, attempt = await server.running()
    attempt.sink.ended(end)  # type: ignore[arg-type]
    with pytest.raises(Fenced):
        attempt.log("late")
    with pytest.raises(Fenced):
        await attempt.sink.commit(SaveCheckpoint(b""))
    await within(attempt.sink.drain())
    await server.final(run.id)
    with pytest.raises(Fenced):
        attempt.log("later")
    assert lines_of([*await server.told(run.id)]) == []
    attempt._alive = False
    server.coroutines.release()


async def test_a_second_end_changes_nothing(server: Server) -> None:
    run, attempt = await server.running()
    attempt.sink.ended(Returned('"first"'))
    attempt.sink.ended(Raised(Error(2, "SECOND", "second")))
    ended = await server.final(run.id)
    assert ended.state is State.SUCCEEDED
    attempt.end()
    assert await server.get(run.id) == ended


async def test_drain_returns_at_once_while_few_reports_wait(server: Server) -> None:
    _, attempt = await server.running()
    server.store.hold()
    attempt.log("one")
    await within(attempt.sink.drain())


async def test_drain_waits_while_many_reports_wait(server: Server) -> None:
    run, attempt = await server.running()
    server.store.hold()
    attempt.report(*[Progress(message=str(number)) for number in range(3_000)])
    draining = asyncio.create_task(attempt.sink.drain())
    await within(server.store.arrived.wait())
    await settle()
    assert not draining.done()
    server.store.release()
    await within(draining)
    attempt.end()
    await server.final(run.id)
    assert len(await server.told(run.id)) == 3 + 3_000 + 2


async def test_drain_waits_for_few_reports_that_are_large(server: Server) -> None:
    _, attempt = await server.running()
    server.store.hold()
    chunk = bytes(60_000)
    for number in range(100):
        attempt.report(OutputChunk("stdout", number * len(chunk), chunk))
    draining = asyncio.create_task(attempt.sink.drain())
    await settle()
    assert not draining.done()
    server.store.release()
    await within(draining)
    await server.until(lambda: len(server.store.saved) > 3)
    sizes = [sum(len(event.body.data) for event in group.changes[0].events if isinstance(event.body, OutputChunk))
             for groups in server.store.saved for group in groups]  # fmt: skip
    assert sum(sizes) == 100 * len(chunk)
    assert max(sizes) <= 1 << 20


async def test_whoever_drains_is_let_go_when_the_run_ends_here(server: Server) -> None:
    _, attempt = await server.running()
    server.store.hold()
    for number in range(3_000):
        attempt.log(str(number))
    draining = asyncio.create_task(attempt.sink.drain())
    await settle()
    server.engine._ownership.fence_all()
    await within(draining)
    server.store.release()


async def storm(server: Server, attempt: ScriptedAttempt, lines: int) -> None:
    """Log while the store hangs, then ten reports of other kinds."""
    server.store.hold()
    attempt.log("first")
    await within(server.store.arrived.wait())
    for number in range(lines):
        attempt.log(str(number))
    for number in range(10):
        attempt.report(EntityRef("file", str(number)))


@on_each_store
async def test_a_log_storm_beyond_the_bound_drops_log_lines_only_and_says_so(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "_FULL", 3_000)
    run, attempt = await server.running()
    await storm(server, attempt, 5_000)
    server.store.release()
    await within(attempt.sink.drain())
    attempt.log("after")
    attempt.end()
    await server.final(run.id)
    told = await server.told(run.id)
    lines = lines_of([*told])
    assert lines[:-2] == ["first"] + [str(number) for number in range(3_000)]
    assert lines[-2].startswith("2000 log lines were dropped")
    assert lines[-1] == "after"
    assert len([body for body in told if isinstance(body, EntityRef)]) == 10
    warning = next(body for body in told if isinstance(body, LogLine) and body.message == lines[-2])
    assert warning.severity is Severity.WARNING


@on_each_store
async def test_a_log_storm_at_the_very_end_of_an_attempt_does_not_keep_it_from_ending(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "_FULL", 3_000)
    run, attempt = await server.running()
    await storm(server, attempt, 5_000)
    attempt.end()
    server.store.release()
    assert (await server.final(run.id)).state is State.SUCCEEDED
    assert lines_of([*await server.told(run.id)])[-1].startswith("2000 log lines were dropped")


async def test_reports_beyond_their_limit_are_refused_and_the_run_goes_on(server: Server) -> None:
    run, attempt = await server.running()
    for report in (
        SaveCheckpoint(bytes((1 << 20) + 1)),
        OutputChunk("stdout", 0, bytes(70_000)),
        Summary("x" * 80_000),
    ):
        with pytest.raises(InvalidArgument):
            attempt.report(report)
    attempt.log("x" * 200_000)
    attempt.end()
    await server.final(run.id)
    (line,) = lines_of([*await server.told(run.id)])
    assert 60_000 < len(line.encode()) < 65_536


async def test_a_report_that_cannot_be_encoded_is_refused_or_mended(server: Server) -> None:
    run, attempt = await server.running()
    with pytest.raises((ValueError, OverflowError, TypeError)):
        attempt.report(Progress(completed=1 << 70))
    with pytest.raises((ValueError, RuncastError)):
        attempt.report(Failure("\udc80"))
    attempt.log("a file named \udc80")
    attempt.end()
    assert (await server.final(run.id)).state is State.SUCCEEDED
    assert lines_of([*await server.told(run.id)]) == ["a file named \\udc80"]


async def test_a_result_beyond_its_limit_fails_the_run_for_good(server: Server) -> None:
    run, attempt = await server.running("retrying")
    attempt.end(Returned('"' + "x" * (2 << 20) + '"'))
    ended = await server.final(run.id)
    assert ended.state is State.FAILED
    assert ended.outcome.error is not None
    assert ended.outcome.error.reason == "RESULT_TOO_LARGE"


@on_each_store
async def test_sequences_are_dense_over_attempts_and_checkpoints_rise(server: Server) -> None:
    run, attempt = await server.running("resuming", overrides={"retry": {"max_attempts": 2}})
    for number in range(3):
        await attempt.sink.commit(SaveCheckpoint(str(number).encode()))
    attempt.end(Raised(Error(2, "X", "x")))
    await server.becomes(run.id, State.BACKING_OFF)
    await server.later(3_600)
    await server.sweep()
    attempt = await server.attempt()
    assert attempt.call.attempt == 2
    assert attempt.call.checkpoint is not None
    assert (attempt.call.checkpoint.number, attempt.call.checkpoint.data) == (3, b"2")
    await attempt.sink.commit(SaveCheckpoint(b"3"))
    attempt.end()
    assert (await server.final(run.id)).checkpoint_number == 4
    told = await server.told(run.id)
    saved = [body for body in told if isinstance(body, CheckpointSaved)]
    assert saved == [CheckpointSaved(number, 1) for number in (1, 2, 3, 4)]
