"""Pausing, resuming and retrying over the wire, with real code in coroutines, threads and processes."""

from pathlib import Path
from typing import Any

import grpc
import pytest

from runcast.v1 import run_pb2
from tests.rpc.calls import Runs, pb, refusal
from tests.rpc.reflecting import ReflectingClient

STEPS = ("steps", "steps_in_a_thread", "steps_in_a_process")


def begins(runs: Runs, run_id: str, times: int = 1) -> None:
    """Return once the code has said so this often."""
    for frame in runs.watch(run_id, event_types=["log"]):
        times -= sum(event.log.message == "begun" for event in frame.batch.events)
        if times <= 0:
            return


def pause(runs: Runs, run_id: str, **fields: Any) -> run_pb2.Run:
    run: run_pb2.Run = runs.PauseRun(pb.PauseRunRequest(run_id=run_id, **fields)).run
    return run


@pytest.mark.parametrize("provider", STEPS)
def test_paused_code_saves_its_place_stops_and_goes_on_from_there(
    runs: Runs, tmp_path: Path, provider: str
) -> None:
    gate = tmp_path / "gate"
    run = runs.start(provider, f'{{"path": "{gate}"}}')
    for number in (1, 2):
        begins(runs, run.id, number)
        assert pause(runs, run.id, reason="lunch").state == run_pb2.Run.STATE_PAUSING
        paused = stands_still(runs, run.id, number)
        assert paused.attempt == number
        resumed = runs.ResumeRun(pb.ResumeRunRequest(run_id=run.id)).run
        assert resumed.state == run_pb2.Run.STATE_QUEUED
    gate.touch()
    ended = runs.wait(run.id)
    assert (ended.state, ended.attempt, ended.output.json) == (run_pb2.Run.STATE_SUCCEEDED, 3, "[1,2]")
    events = [event for frame in runs.watch(run.id) for event in frame.batch.events]
    assert [event.sequence for event in events] == list(range(1, ended.last_sequence + 1))
    started = [event.attempt_started.from_checkpoint for event in events if event.HasField("attempt_started")]
    assert started == [False, True, True]
    assert [e.state_changed.reason for e in events if e.state_changed.to_state == run_pb2.Run.STATE_PAUSING] == [
        "lunch", "lunch",
    ]  # fmt: skip


def stands_still(runs: Runs, run_id: str, attempt: int) -> run_pb2.Run:
    """The run once it stands still after this attempt."""
    for frame in runs.watch(run_id, event_types=["state_changed"]):
        for event in frame.batch.events:
            paused = event.state_changed.to_state == run_pb2.Run.STATE_PAUSED
            if paused and event.attempt == attempt:
                run: run_pb2.Run = runs.GetRun(pb.GetRunRequest(run_id=run_id)).run
                return run
    raise AssertionError("it never stood still")


def test_a_scheduled_run_is_paused_at_once_and_waits_for_its_time_again(runs: Runs) -> None:
    run = runs.start("nothing", start_after={"seconds": 4_000_000_000})
    assert pause(runs, run.id, require_checkpoint=True).state == run_pb2.Run.STATE_PAUSED
    resumed = runs.ResumeRun(pb.ResumeRunRequest(run_id=run.id)).run
    assert (resumed.state, resumed.next_attempt_time.seconds) == (run_pb2.Run.STATE_SCHEDULED, 4_000_000_000)


def test_what_cannot_be_paused_resumed_or_retried_says_why(runs: Runs, tmp_path: Path) -> None:
    unable = runs.start("until", f'{{"path": "{tmp_path / "gate"}"}}').id
    able = runs.start("steps", f'{{"path": "{tmp_path / "gate"}"}}').id
    final = runs.finished("nothing").id
    cases: list[tuple[str, Any, str, str]] = [
        ("PauseRun", pb.PauseRunRequest(run_id=final), "FAILED_PRECONDITION", "RUN_STATE"),
        ("PauseRun", pb.PauseRunRequest(run_id=unable), "FAILED_PRECONDITION", "NOT_PAUSABLE"),
        ("PauseRun", pb.PauseRunRequest(run_id=able, require_checkpoint=True), "FAILED_PRECONDITION", "NO_CHECKPOINT"),
        ("PauseRun", pb.PauseRunRequest(run_id=able, reason="x" * 1_025), "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        ("PauseRun", pb.PauseRunRequest(), "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        ("PauseRun", pb.PauseRunRequest(run_id="nobody"), "NOT_FOUND", "RUN_NOT_FOUND"),
        ("ResumeRun", pb.ResumeRunRequest(run_id="nobody"), "NOT_FOUND", "RUN_NOT_FOUND"),
        ("ResumeRun", pb.ResumeRunRequest(run_id=able), "FAILED_PRECONDITION", "RUN_STATE"),
        ("RetryRun", pb.RetryRunRequest(run_id="nobody"), "NOT_FOUND", "RUN_NOT_FOUND"),
        ("RetryRun", pb.RetryRunRequest(run_id=able), "FAILED_PRECONDITION", "RUN_STATE"),
        ("RetryRun", pb.RetryRunRequest(run_id=final, from_checkpoint=True), "FAILED_PRECONDITION", "NO_CHECKPOINT"),
        ("RetryRun", pb.RetryRunRequest(run_id=final, failed_targets_only=True), "FAILED_PRECONDITION", "NO_FAILED_TARGETS"),
        ("RetryRun", pb.RetryRunRequest(run_id=final, input={"json": '{"x": 1}'}), "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        ("RetryRun", pb.RetryRunRequest(run_id=final, input={"data": b"x"}), "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        ("RetryRun", pb.RetryRunRequest(run_id=final, request_id="x" * 129), "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
    ]  # fmt: skip
    for name, request, status, reason in cases:
        with pytest.raises(grpc.RpcError) as error:
            getattr(runs, name)(request)
        code, why, details = refusal(error.value)
        assert (code.name, why) == (status, reason), request
        assert ("PreconditionFailure" in details) is (status == "FAILED_PRECONDITION")
    (tmp_path / "gate").touch()
    assert runs.wait(able).state == run_pb2.Run.STATE_SUCCEEDED


def retry(runs: Runs, run_id: str, **fields: Any) -> Any:
    return runs.RetryRun(pb.RetryRunRequest(run_id=run_id, **fields))


@pytest.mark.parametrize("provider", ["targeted", "targeted_in_a_process"])
def test_a_retry_for_failed_targets_tells_the_code_which(runs: Runs, provider: str) -> None:
    old = runs.finished(provider, '{"names": ["a", "b"]}', labels={"team": "x"})
    assert old.state == run_pb2.Run.STATE_SUCCEEDED_WITH_ERRORS
    new = retry(runs, old.id, failed_targets_only=True)
    assert (new.created, new.run.retry_of, dict(new.run.labels)) == (True, old.id, {"team": "x"})
    ended = runs.wait(new.run.id)
    assert (ended.state, ended.output.json) == (run_pb2.Run.STATE_SUCCEEDED, '["a","b"]')


def test_a_retry_goes_on_from_the_checkpoint_also_when_the_old_run_is_deleted(
    runs: Runs, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    old = runs.start("steps", f'{{"path": "{gate}"}}')
    begins(runs, old.id)
    runs.CancelRun(pb.CancelRunRequest(run_id=old.id))
    assert runs.wait(old.id).state == run_pb2.Run.STATE_CANCELLED
    new = retry(runs, old.id, from_checkpoint=True).run
    plain = retry(runs, old.id).run
    runs.DeleteRun(pb.DeleteRunRequest(run_id=old.id))
    gate.touch()
    assert [runs.wait(run.id).output.json for run in (new, plain)] == ["[1]", "[]"]


def test_a_retry_is_safe_to_repeat_and_takes_other_parameters(runs: Runs) -> None:
    old = runs.finished("echo", '{"value": 1}')
    request: dict[str, Any] = {"request_id": "again", "input": {"json": '{"value": 2}'}}
    first, second = [retry(runs, old.id, **request) for _ in range(2)]
    assert (first.run.id, first.created, second.created) == (second.run.id, True, False)
    assert runs.wait(first.run.id).output.json == "2"
    with pytest.raises(grpc.RpcError) as error:
        retry(runs, old.id, request_id="again")
    assert refusal(error.value)[:2] == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")


def test_somebody_who_knows_only_reflection_retries(runs: Runs, grpc_channel: grpc.Channel) -> None:
    old = runs.finished("nothing")
    stranger = ReflectingClient(grpc_channel, "v1")
    (answer,) = stranger.call("runcast.v1.RunService/RetryRun", f'{{"run_id": "{old.id}"}}')
    assert (answer["run"]["retryOf"], answer["created"]) == (old.id, True)
