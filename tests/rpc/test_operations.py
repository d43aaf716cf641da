"""Runs by Google's own longrunning clients: their futures wait for a run, have its result or its error, and end it."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from runcast.server.model.run import Definition, Error, Outcome, Payload, Run, State
from runcast.server.rpc.operations import operation_message
from runcast.v1 import operation_pb2, payload_pb2, run_pb2
from tests.rpc.calls import PATIENCE, Runs, pb
from tests.rpc.longrunning import AsyncOperations, Operations, kinds, reason_of
from tests.serving import ServerProcess

# How runs fail: provider, parameters, more of the start; Google's error, our reason.
FAILURES: dict[str, tuple[str, str, dict[str, Any], type[Exception], str]] = {
    "raised": ("fail", "{}", {}, kinds.Unknown, "PROVIDER_EXCEPTION"),
    "with a code": ("refuse", '{"code": 9}', {}, kinds.FailedPrecondition, "NOT_LIKE_THIS"),
    "with no error's code": ("refuse", '{"code": 0}', {}, kinds.Unknown, "NOT_LIKE_THIS"),
    "timed out": (
        "until",
        '{"path": "/nowhere"}',
        {"overrides": {"timeouts": {"run": {"nanos": 200_000_000}}}},
        kinds.DeadlineExceeded,
        "TIMEOUT_RUN",
    ),
}


@pytest.fixture
def operations(grpc_channel: grpc.Channel) -> Operations:
    """The service of the module's server."""
    return Operations(grpc_channel)


@pytest.fixture
def forever(runs: Runs, tmp_path: Path) -> run_pb2.Run:
    """A run that runs until the file `go` of the test's folder exists."""
    return runs.start("until", f'{{"path": "{tmp_path / "go"}"}}')


# Ends, by Google's blocking client.


def test_a_future_has_the_result_of_a_run_that_succeeds(operations: Operations, runs: Runs) -> None:
    run = runs.start("echo", '{"value": "x"}')
    future = operations.future(run.id)
    assert future.result(timeout=PATIENCE) == operation_pb2.RunOperationResponse(
        run=run.id,
        state=run_pb2.Run.STATE_SUCCEEDED,
        output=payload_pb2.Payload(content_type="application/json", json='"x"'),
    )
    assert future.exception() is None
    assert future.done()
    assert not future.cancelled()
    told, final = future.metadata, runs.wait(run.id)
    assert (told.run, told.provider, told.attempt) == (run.id, "echo", 1)
    assert told.state == run_pb2.Run.STATE_SUCCEEDED
    for time_ in ("create_time", "start_time", "end_time"):
        assert getattr(told, time_) == getattr(final, time_)


def test_a_run_with_failed_targets_is_a_response_that_names_them(operations: Operations, runs: Runs) -> None:
    future = operations.future(runs.start("partly").id)
    response = future.result(timeout=PATIENCE)
    assert response.state == run_pb2.Run.STATE_SUCCEEDED_WITH_ERRORS
    assert (response.summary, response.failure_count) == ("1 of 2", 1)
    assert [failure.target for failure in response.failures] == ["b.txt"]
    assert response.output.json == "1"
    assert (future.metadata.progress.completed, future.metadata.progress.unit) == (2, "files")


@pytest.mark.parametrize("how", FAILURES)
def test_a_run_that_fails_raises_googles_error_of_its_code_with_our_details(
    operations: Operations, runs: Runs, how: str
) -> None:
    provider, parameters, more, kind, reason = FAILURES[how]
    future = operations.future(runs.start(provider, parameters, **more).id)
    error = future.exception(timeout=PATIENCE)
    assert type(error) is kind
    assert reason_of(error) == reason
    assert not future.cancelled()
    with pytest.raises(kind):
        future.result()


def test_a_future_cancels_its_run(operations: Operations, runs: Runs, forever: run_pb2.Run) -> None:
    future = operations.future(forever.id)
    assert not future.done()
    assert future.cancel()
    error = future.exception(timeout=PATIENCE)
    assert type(error) is kinds.Cancelled
    assert reason_of(error) == "CANCELLED"
    assert future.cancelled()
    assert future.metadata.cancellation.initiator == run_pb2.Cancellation.INITIATOR_CLIENT
    assert not future.cancel()
    assert runs.wait(forever.id).state == run_pb2.Run.STATE_CANCELLED


def test_a_callback_hears_of_the_end(operations: Operations, forever: run_pb2.Run, tmp_path: Path) -> None:
    heard = threading.Event()
    future = operations.future(forever.id)
    future.add_done_callback(lambda _: heard.set())
    assert not heard.is_set()
    (tmp_path / "go").touch()
    assert heard.wait(PATIENCE)
    assert future.result().output.json == '"seen"'


# The same by Google's asynchronous client.


@pytest.fixture
async def later(server: ServerProcess) -> AsyncIterator[AsyncOperations]:
    """Google's asynchronous client on a plain channel."""
    async with grpc.aio.insecure_channel(server.address) as channel:
        yield AsyncOperations(channel)


async def test_an_asynchronous_future_has_the_result(later: AsyncOperations, runs: Runs) -> None:
    future = await later.future(runs.start("partly").id)
    response = await future.result(timeout=PATIENCE)
    assert response.state == run_pb2.Run.STATE_SUCCEEDED_WITH_ERRORS
    assert await future.exception() is None
    assert await future.done()
    assert future.metadata.run == response.run


@pytest.mark.parametrize("how", FAILURES)
async def test_an_asynchronous_future_raises_what_went_wrong(
    later: AsyncOperations, runs: Runs, how: str
) -> None:
    provider, parameters, more, kind, reason = FAILURES[how]
    future = await later.future(runs.start(provider, parameters, **more).id)
    error = await future.exception(timeout=PATIENCE)
    assert isinstance(error, kinds.GoogleAPICallError)
    assert reason_of(error) == reason
    assert type(kinds.from_grpc_status(future.operation.error.code, "")) is kind


async def test_an_asynchronous_future_cancels_and_calls_back(
    later: AsyncOperations, forever: run_pb2.Run
) -> None:
    heard = asyncio.Event()
    future = await later.future(forever.id)
    future.add_done_callback(lambda _: heard.set())
    assert await future.running()
    assert await future.cancel()
    await asyncio.wait_for(heard.wait(), PATIENCE)
    assert await future.cancelled()
    assert not await future.cancel()
    assert reason_of(await future.exception()) == "CANCELLED"


async def test_the_asynchronous_client_lists(later: AsyncOperations, runs: Runs) -> None:
    run = runs.finished("nothing")
    pager = await later.client.list_operations("operations", "done=true")
    assert f"operations/{run.id}" in [operation.name async for operation in pager]


# What is done, and what is not.


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("error", [None, Error(0, "ODD", "of code 0"), Error(7, "OWN", "of its own")])
def test_every_state_is_done_with_one_result_or_not_done_with_none(state: State, error: Error | None) -> None:
    outcome = Outcome(output=Payload(json="1"), error=error)
    run = Run("run_1", 1, state, 1_000_000, definition=Definition("nothing"), outcome=outcome)
    operation = operation_message(run)
    assert operation.name == "operations/run_1"
    assert operation.metadata.Is(operation_pb2.RunOperationMetadata.DESCRIPTOR)
    succeeded = state in (State.SUCCEEDED, State.SUCCEEDED_WITH_ERRORS)
    expected = ("response" if succeeded else "error") if state.final else None
    assert (operation.done, operation.WhichOneof("result")) == (state.final, expected)
    if expected == "error":
        codes = {State.CANCELLED: 1, State.TIMED_OUT: 4, State.FAILED: error.code if error else 0}
        assert operation.error.code == (codes[state] or 2)
        assert operation.error.message


def test_a_run_that_waits_for_its_time_is_not_done(operations: Operations, runs: Runs) -> None:
    run = runs.start("nothing", start_after={"seconds": int(time.time()) + 3_600})
    future = operations.future(run.id)
    assert not future.done()
    assert future.metadata.state == run_pb2.Run.STATE_SCHEDULED
    assert not future.metadata.HasField("start_time")
    assert future.cancel()
    assert type(future.exception(timeout=PATIENCE)) is kinds.Cancelled


def test_a_run_that_is_paused_is_not_done_and_stays_so(operations: Operations, runs: Runs) -> None:
    run = runs.start("nothing", start_after={"seconds": int(time.time()) + 3_600})
    runs.PauseRun(pb.PauseRunRequest(run_id=run.id))
    future = operations.future(run.id)
    assert not operations.wait(run.id, nanos=100_000_000).done
    assert not future.done()
    assert future.metadata.state == run_pb2.Run.STATE_PAUSED
    assert future.cancel()
    assert type(future.exception(timeout=PATIENCE)) is kinds.Cancelled


def test_cancelling_what_has_ended_changes_nothing(operations: Operations, runs: Runs) -> None:
    run = runs.finished("nothing")
    before = operations.get(run.id)
    operations.client.cancel_operation(before.name)
    assert operations.get(run.id) == before
