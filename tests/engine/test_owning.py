"""A run that somebody else writes to while it executes here, or takes away."""

import asyncio

import pytest

from runcast.server.engine.watching import CaughtUp
from runcast.server.model import attempts, lifecycle
from runcast.server.model.call import Raised
from runcast.server.model.change import Change, Group, Saved
from runcast.server.model.errors import Fenced, NotFound, Unavailable
from runcast.server.model.event import LogLine, SaveCheckpoint, Severity
from runcast.server.model.run import Error, Initiator, Run, State, StopCause
from tests.engine.clock import NOW, SECOND
from tests.engine.conftest import on_each_store
from tests.engine.scripted import within
from tests.engine.server import Server, settle
from tests.engine.test_watching import Following

FAILURE = Raised(Error(2, "X", "x"))


async def elsewhere(server: Server, change: Change | None) -> Run:
    """Another server stores this."""
    assert change is not None
    (result,) = await server.store.inner.save([Group((change,))])
    assert isinstance(result, Saved)
    return change.run


async def taken_away(server: Server, run: Run) -> Run:
    """Another server takes the run for lost, and claims it."""
    await server.store.inner.beat("boot_other", 60_000_000)
    lost = await elsewhere(server, attempts.lose(await server.store.inner.get(run.id), server.clock.now()))
    return await elsewhere(server, lifecycle.claim(lost, "boot_other", server.clock.now()))


@on_each_store
async def test_a_cancellation_stored_by_another_server_is_obeyed_and_reports_go_on(server: Server) -> None:
    run, attempt = await server.running()
    await elsewhere(server, lifecycle.cancel(run, server.clock.now(), Initiator.CLIENT))
    attempt.log("after")
    assert (await attempt.is_asked())[0] is StopCause.CANCEL
    attempt.end()
    ended = await server.final(run.id)
    assert ended.state is State.SUCCEEDED
    told = await server.told(run.id)
    assert LogLine(Severity.INFO, "after") in told
    assert ended.last_sequence == len(told) == 3 + 2 + 1 + 2


@on_each_store
async def test_watchers_see_also_what_another_server_stored(server: Server) -> None:
    run, attempt = await server.running()
    following = Following(server, run.id)
    await following.shows(CaughtUp)
    attempt.log("before")
    await server.until(lambda: len(server.store.saved) == 2)
    now = await server.store.inner.get(run.id)
    await elsewhere(server, lifecycle.cancel(now, server.clock.now(), Initiator.CLIENT))
    attempt.log("after")
    attempt.end()
    await within(following.task)
    seen = [event for frame in following.frames for event in getattr(frame, "events", ())]
    assert seen == await server.stored(run.id)
    assert await server.events(run.id) == seen


async def test_a_change_by_another_server_is_found_by_the_sweep_though_nothing_is_reported(
    server: Server,
) -> None:
    run, attempt = await server.running()
    asked = lifecycle.cancel(run, server.clock.now(), Initiator.CLIENT, grace=0)
    await elsewhere(server, asked)
    await server.sweep()
    await server.sweep()
    await attempt.is_killed()
    assert (await server.final(run.id)).state is State.CANCELLED


async def test_a_question_asked_meanwhile_is_decided_on_what_is_there_now(server: Server) -> None:
    run, attempt = await server.running()
    await elsewhere(server, lifecycle.cancel(run, server.clock.now(), Initiator.PARENT, reason="first"))
    answer = await server.engine.control.cancel(run.id, reason="second")
    assert answer.state is State.CANCELLING
    assert answer.cancellation is not None
    assert answer.cancellation.reason == "first"
    attempt.end()
    await server.final(run.id)


@on_each_store
async def test_a_run_that_another_server_owns_by_now_is_given_up_and_its_code_killed(server: Server) -> None:
    run, attempt = await server.running("resuming")
    other = await taken_away(server, run)
    committing = asyncio.create_task(attempt.sink.commit(SaveCheckpoint(b"late")))
    await attempt.is_killed()
    with pytest.raises(Fenced):
        await committing
    with pytest.raises(Fenced):
        attempt.log("later")
    assert await server.store.inner.get(run.id) == other
    assert await server.get(run.id) == other
    await server.sweep()
    assert await server.store.inner.get(run.id) == other
    assert await server.store.inner.checkpoint(run.id) is None
    assert server.coroutines.taken == 0


async def test_an_end_that_comes_too_late_changes_nothing(server: Server) -> None:
    run, attempt = await server.running("resuming")
    other = await taken_away(server, run)
    attempt.end()
    await server.until(lambda: len(server.engine._ownership) == 0)
    assert await server.get(run.id) == other


async def test_a_run_that_ended_elsewhere_is_given_up_here(server: Server) -> None:
    run, attempt = await server.running()
    lost = await elsewhere(server, attempts.lose(run, server.clock.now()))
    assert lost.state is State.INTERRUPTED
    attempt.log("still here")
    await attempt.is_killed()
    assert await server.get(run.id) == lost


async def test_a_run_that_is_not_there_any_more_is_given_up_here(server: Server) -> None:
    run, attempt = await server.running()
    await elsewhere(server, lifecycle.cancel(run, server.clock.now(), Initiator.CLIENT))
    server.store.fail("get", NotFound("run", run.id))
    attempt.log("still here")
    await attempt.is_killed()
    await server.until(lambda: len(server.engine._ownership) == 0)


async def test_a_store_that_is_away_while_a_run_is_read_again_is_asked_again(server: Server) -> None:
    run, attempt = await server.running()
    await elsewhere(server, lifecycle.cancel(run, server.clock.now(), Initiator.CLIENT))
    server.store.fail("get", Unavailable("away"), Unavailable("away"))
    attempt.log("after")
    await attempt.is_asked()
    attempt.end()
    await server.final(run.id)
    assert LogLine(Severity.INFO, "after") in await server.told(run.id)


async def test_a_cancellation_under_way_when_the_run_is_lost_is_answered_all_the_same(server: Server) -> None:
    run, attempt = await server.running("resuming")
    server.store.hold()
    attempt.log("one")
    await within(server.store.arrived.wait())
    cancelling = asyncio.create_task(server.engine.control.cancel(run.id))
    await settle()
    server.engine._ownership.fence_all()
    server.store.release()
    await within(cancelling)
    assert cancelling.result().state is State.CANCELLING
    await server.sweep()
    assert (await server.get(run.id)).state is State.CANCELLED


async def test_a_cancellation_that_is_being_stored_when_the_run_is_lost_is_decided_again(
    server: Server,
) -> None:
    run, _ = await server.running("resuming")
    server.store.hold()
    cancelling = asyncio.create_task(server.engine.control.cancel(run.id))
    await within(server.store.arrived.wait())
    other = await taken_away(server, run)
    server.engine._ownership.fence_all()
    server.store.release()
    await within(cancelling)
    answer = cancelling.result()
    assert answer.state is State.CANCELLING
    assert answer.owner == "boot_other"
    assert answer.version == other.version + 1


async def test_a_store_that_stored_without_an_answer_is_not_told_the_end_twice(server: Server) -> None:
    run, attempt = await server.running()
    server.store.afterwards.append(Unavailable("the connection broke"))
    attempt.end()
    await server.until(lambda: len(server.engine._ownership) == 0)
    ended = await server.get(run.id)
    assert ended.state is State.SUCCEEDED
    assert len(await server.told(run.id)) == 5
    assert ended == await server.store.inner.get(run.id)


async def test_whoever_waits_for_an_end_that_was_stored_without_an_answer_hears_of_it(server: Server) -> None:
    run = await server.start(start_after=NOW + 3_600 * SECOND)  # nobody owns it: nobody tries again and tells
    waiting = asyncio.create_task(server.engine.wait(run.id, 60))
    following = Following(server, run.id, heartbeat=60.0)
    await following.shows(CaughtUp)
    server.store.afterwards.append(Unavailable("the connection broke"))
    with pytest.raises(Unavailable):
        await server.engine.control.cancel(run.id)
    await within(waiting)
    assert waiting.result().state is State.CANCELLED
    await within(following.task)


async def test_a_run_that_was_queued_without_an_answer_is_found_in_the_queue(server: Server) -> None:
    run, attempt = await server.running("retrying")
    attempt.end(FAILURE)
    await server.becomes(run.id, State.BACKING_OFF)
    server.store.afterwards.append(Unavailable("the connection broke"))
    await server.later(8)
    await server.sweep()
    assert (await server.attempt()).call.attempt == 2


async def test_a_run_whose_checkpoint_cannot_be_read_now_begins_when_it_can(server: Server) -> None:
    run, attempt = await server.running("resuming", overrides={"retry": {"max_attempts": 2, "jitter": 0.0}})
    await attempt.sink.commit(SaveCheckpoint(b"here"))
    attempt.end(FAILURE)
    await server.becomes(run.id, State.BACKING_OFF)
    server.store.fail("checkpoint", Unavailable("away"))
    await server.later(1)
    await server.sweep()
    again = await server.attempt()
    assert again.call.checkpoint is not None
    assert again.call.checkpoint.data == b"here"


async def test_a_run_that_is_cancelled_while_its_checkpoint_is_read_never_begins(server: Server) -> None:
    run, attempt = await server.running("resuming", overrides={"retry": {"max_attempts": 2, "jitter": 0.0}})
    await attempt.sink.commit(SaveCheckpoint(b"here"))
    attempt.end(FAILURE)
    await server.becomes(run.id, State.BACKING_OFF)
    server.store.fail("checkpoint", *[Unavailable("away")] * 3)
    await server.later(1)
    await server.sweep()
    assert (await server.engine.control.cancel(run.id)).state is State.CANCELLING
    assert (await server.final(run.id)).state is State.CANCELLED
    assert server.coroutines.idle
    assert server.coroutines.taken == 0


async def test_a_run_that_is_lost_while_its_checkpoint_is_read_never_begins(server: Server) -> None:
    run, attempt = await server.running("resuming", overrides={"retry": {"max_attempts": 2, "jitter": 0.0}})
    await attempt.sink.commit(SaveCheckpoint(b"here"))
    attempt.end(FAILURE)
    await server.becomes(run.id, State.BACKING_OFF)
    server.store.fail("checkpoint", Unavailable("away"))
    await server.later(1)
    await server.sweep()
    assert (await server.get(run.id)).state is State.RUNNING
    await taken_away(server, run)
    server.engine._ownership.fence_all()
    await server.until(lambda: server.coroutines.taken == 0)
    assert server.coroutines.idle
