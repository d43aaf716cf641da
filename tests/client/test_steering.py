"""Runs stand still, go on, are retried and deleted, and are kept as tasks; a lost answer is no mistake."""

import os

import grpc
import pytest

from runcast.client import (
    Aborted,
    Client,
    FailedPrecondition,
    NotFound,
    Run,
    RunStream,
    Unavailable,
    kind,
    result_of,
    run_spec,
    start_request,
    state_name,
    to_python,
)
from runcast.v1 import run_pb2, run_service_pb2, task_service_pb2
from tests.client.answering import Answering
from tests.client.scripted import status

PRECONDITION, MISSING = grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.NOT_FOUND
LOST = status(grpc.StatusCode.UNAVAILABLE)
WRONG_STATE = status(PRECONDITION, "RUN_STATE")


def standing(state: run_pb2.Run.State.ValueType) -> run_service_pb2.GetRunResponse:
    return run_service_pb2.GetRunResponse(run=run_pb2.Run(id="run_1", state=state))


async def until(run: RunStream, state: str) -> None:
    """Follow until it is in this state."""
    async for _ in run:
        if state_name(run.state) == state:
            return
    raise AssertionError(f"it never was {state}")


async def test_a_run_is_paused_and_goes_on_where_it_was(direct: Client) -> None:
    async with direct.execute("counter", {"to": 200}) as run:
        async for event in run:
            if event.log.message == "counted 3":
                break
        paused = await direct.pause(run.id, "lunch", require_checkpoint=True)
        assert state_name(paused.state) in {"PAUSING", "PAUSED"}
        await until(run, "PAUSED")
        with pytest.raises(FailedPrecondition) as caught:
            await direct.pause(run.id)
        assert (caught.value.reason, caught.value.repeated) == ("RUN_STATE", False)
        assert state_name((await direct.resume(run.id)).state) in {"QUEUED", "RUNNING"}
        lines = [event.log.message async for event in run if kind(event) == "log"]
        assert run.result() == 200
    assert lines[-1] == "counted 200"
    assert "counted 1" not in lines


async def test_a_run_is_retried_with_other_parameters_or_for_what_failed(direct: Client) -> None:
    first = await direct.wait((await direct.start("packer", {"orders": 3})).id)
    assert state_name(first.state) == "SUCCEEDED_WITH_ERRORS"
    again = await direct.retry(first.id, parameters={"orders": 1}, request_id="again")
    assert again.retry_of == first.id
    assert (await direct.retry(first.id, parameters={"orders": 1}, request_id="again")).id == again.id
    assert result_of(await direct.wait(again.id)) == 1
    failed = await direct.retry(first.id, failed_targets_only=True)
    assert failed.id != again.id
    with pytest.raises(FailedPrecondition) as caught:
        await direct.retry(again.id, from_checkpoint=True)
    assert caught.value.reason == "NO_CHECKPOINT"


async def test_a_final_run_is_deleted_and_a_running_one_is_not(direct: Client) -> None:
    done = await direct.wait((await direct.start("chatter", {"lines": 0})).id)
    await direct.delete(done.id)
    with pytest.raises(NotFound):
        await direct.get(done.id)
    with pytest.raises(NotFound):
        await direct.delete(done.id)
    running = await direct.start("until_cancelled")
    with pytest.raises(FailedPrecondition):
        await direct.delete(running.id)
    await direct.cancel(running.id, immediate=True)


async def test_stored_events_are_listed_over_all_pages(direct: Client) -> None:
    run = await direct.wait((await direct.start("chatter", {"lines": 450, "pause": 0})).id)
    async with direct.watch(run.id) as watched:
        journal = [event async for event in watched]
    assert [event async for event in direct.events(run.id)] == journal
    assert [event async for event in direct.events(run.id, after_sequence=5, limit=201)] == journal[5:206]
    lines = [event.log.message async for event in direct.events(run.id, event_types=["log"])]
    assert lines == [f"line {number}" for number in range(450)]


async def test_a_task_is_kept_started_changed_and_removed(direct: Client) -> None:
    task = await direct.tasks.create(
        "nightly", "chatter", {"pause": 0.0}, spec=run_spec(priority=3), labels={"team": "a"}
    )
    assert task.enabled
    assert await direct.tasks.get("nightly") == task
    assert await direct.run(task="nightly", parameters={"lines": 2}) == 2
    async with direct.execute(task="nightly", parameters={"lines": 1}) as run:
        assert [event async for event in run]
        assert run.snapshot.spec.priority == 3
    changed = await direct.tasks.update("nightly", etag=task.etag, enabled=False, parameters={"lines": 7})
    assert (changed.enabled, to_python(changed.input)) == (False, {"lines": 7})
    assert changed.labels == {"team": "a"}
    with pytest.raises(Aborted) as caught:
        await direct.tasks.update("nightly", etag=task.etag, enabled=True)
    assert not caught.value.repeated
    masked = await direct.tasks.update("nightly", mask=["labels", "spec.priority"], spec=run_spec(priority=0))
    assert (dict(masked.labels), masked.spec.priority, masked.enabled) == ({}, 0, False)
    with pytest.raises(FailedPrecondition):
        await direct.start(task="nightly")
    assert [each.id async for each in direct.tasks.list(enabled=False)] == ["nightly"]
    assert [each.id async for each in direct.tasks.list(enabled=True)] == []
    await direct.tasks.delete("nightly")
    with pytest.raises(NotFound):
        await direct.tasks.delete("nightly")


async def test_a_pause_whose_answer_was_lost_is_found_done(asking: Client, answering: Answering) -> None:
    answering.unary["PauseRun"].extend([LOST, WRONG_STATE])
    answering.unary["GetRun"].append(standing(Run.STATE_PAUSING))
    assert (await asking.pause("run_1")).state == Run.STATE_PAUSING


async def test_a_resumption_whose_answer_was_lost_is_found_done(asking: Client, answering: Answering) -> None:
    answering.unary["ResumeRun"].extend([LOST, WRONG_STATE])
    answering.unary["GetRun"].append(standing(Run.STATE_QUEUED))
    assert (await asking.resume("run_1")).state == Run.STATE_QUEUED


async def test_a_repeated_pause_of_a_run_that_does_not_stand_still_is_refused(
    asking: Client, answering: Answering
) -> None:
    answering.unary["PauseRun"].extend([LOST, WRONG_STATE])
    answering.unary["GetRun"].append(standing(Run.STATE_SUCCEEDED))
    with pytest.raises(FailedPrecondition) as caught:
        await asking.pause("run_1")
    assert caught.value.repeated


async def test_deletions_whose_answers_were_lost_are_done(asking: Client, answering: Answering) -> None:
    answering.unary["DeleteRun"].extend([LOST, status(MISSING, "RUN_NOT_FOUND")])
    answering.unary["DeleteTask"].extend([LOST, status(MISSING, "TASK_NOT_FOUND")])
    await asking.delete("run_1")
    await asking.tasks.delete("nightly")
    assert len(answering.requests["DeleteRun"]) == len(answering.requests["DeleteTask"]) == 2


async def test_a_retry_and_a_new_task_are_repeated_as_the_same_request(
    asking: Client, answering: Answering
) -> None:
    answering.unary["RetryRun"].extend([LOST, LOST, run_service_pb2.RetryRunResponse()])
    answering.unary["CreateTask"].extend([LOST, task_service_pb2.CreateTaskResponse()])
    await asking.retry("run_1")
    await asking.tasks.create("nightly", "greet")
    assert len(set(answering.requests["RetryRun"])) == 1
    assert run_service_pb2.RetryRunRequest.FromString(answering.requests["RetryRun"][0]).request_id
    assert len(set(answering.requests["CreateTask"])) == 1
    assert task_service_pb2.CreateTaskRequest.FromString(answering.requests["CreateTask"][0]).request_id


async def test_patience_ends_with_an_error_that_says_that_it_was_repeated(answering: Answering) -> None:
    answering.unary["ResumeRun"].extend([LOST] * 1000)
    async with Client(f"127.0.0.1:{answering.port}", patience=0.3) as client:
        with pytest.raises(Unavailable) as caught:
            await client.resume("run_1")
    assert caught.value.repeated


async def test_streams_that_come_and_go_leave_no_descriptor(direct: Client) -> None:
    async def once() -> None:
        async with direct.watch_runs() as changes:
            await anext(changes)
        async with direct.attach(start=start_request("chatter", {"lines": 1})) as run:
            assert [event async for event in run]
        async with direct.execute_all([start_request("chatter", {"lines": 1})]) as outcomes:
            assert [outcome async for outcome in outcomes]

    await once()
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(5):
        await once()
    assert len(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208
