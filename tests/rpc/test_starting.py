"""Starting over the wire: once for each request id, checked before anything is stored, and answered truthfully."""

import json
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from runcast.v1 import run_pb2
from tests.rpc.calls import Runs, pb, refusal


def fields(error: grpc.RpcError) -> dict[str, str]:
    code, reason, details = refusal(error)
    assert code is grpc.StatusCode.INVALID_ARGUMENT, (code, reason)
    return {violation.field: violation.description for violation in details["BadRequest"].field_violations}


def count(runs: Runs) -> int:
    return len(runs.ListRuns(pb.ListRunsRequest(page_size=1_000)).runs)


def test_a_start_that_waits_answers_with_the_result(runs: Runs) -> None:
    run = runs.finished("greet", '{"name": "Ada"}')
    assert run.state == run_pb2.Run.STATE_SUCCEEDED
    assert "Ada" in run.output.json
    assert runs.GetRun(pb.GetRunRequest(run_id=run.id)).run == run


def test_a_failure_is_failed_with_its_reason_and_its_traceback_on_the_attempt(runs: Runs) -> None:
    run = runs.finished("fail", '{"message": "no luck"}')
    assert run.state == run_pb2.Run.STATE_FAILED
    assert "no luck" in run.error.message
    (attempt,) = runs.ListAttempts(pb.ListAttemptsRequest(run_id=run.id)).attempts
    assert attempt.state == run_pb2.Attempt.STATE_FAILED
    assert "ValueError: no luck" in attempt.traceback
    assert "Traceback" not in run.error.message


@pytest.mark.parametrize("number", ["9007199254740993", "-123456789012345678901234567890", "0.1", "1e300"])
def test_json_parameters_keep_numbers_exactly(runs: Runs, number: str) -> None:
    run = runs.finished("echo", f'{{"value": {number}}}')
    assert json.loads(run.output.json) == json.loads(number), run.error
    assert json.loads(run.input.json) == {"value": json.loads(number)}


def test_a_value_that_no_double_holds_exactly_is_refused(runs: Runs) -> None:
    request = pb.StartRunRequest(provider="echo")
    request.input.value.struct_value["value"] = float(2**53)
    before = count(runs)
    with pytest.raises(grpc.RpcError) as error:
        runs.StartRun(request)
    assert "2^53" in fields(error.value)["input.value"]
    assert count(runs) == before


def test_whole_numbers_in_a_value_become_integers(runs: Runs) -> None:
    request = pb.StartRunRequest(provider="echo", wait={"seconds": 10})
    request.input.value.struct_value["value"] = 42.0
    assert runs.StartRun(request).run.output.json == "42"


@pytest.mark.parametrize(
    ("parameters", "wrong"),
    [
        ("{}", {"input.name"}),
        ('{"name": "Ada", "nmae": 1}', {"input.nmae"}),
        ('{"name": ["Ada"], "x": 1, "y": 2}', {"input.name", "input.x", "input.y"}),
        ("[1]", {"input"}),
        ("{", {"input"}),
        ('{"name": NaN}', {"input"}),
    ],
)
def test_each_wrong_parameter_is_named_and_nothing_is_stored(
    runs: Runs, parameters: str, wrong: set[str]
) -> None:
    before = count(runs)
    with pytest.raises(grpc.RpcError) as error:
        runs.start("greet", parameters)
    assert set(fields(error.value)) == wrong
    assert count(runs) == before


@pytest.mark.parametrize(
    ("request_fields", "field"),
    [
        ({"run_id": "no spaces"}, "run_id"),
        ({"request_id": "x" * 129}, "request_id"),
        ({"labels": {"": "x"}}, "labels['']"),
        ({"labels": {"a": "x" * 257}}, "labels['a']"),
        ({"overrides": {"timeouts": {"run": {"seconds": -1}}}}, "overrides.timeouts.run"),
        ({"overrides": {"retry": {"max_attempts": -1}}}, "overrides.retry.max_attempts"),
        ({"overrides": {"retry": {"jitter": 1.5}}}, "overrides.retry.jitter"),
        ({"overrides_mask": {"paths": ["tiemouts"]}}, "overrides_mask"),
        ({"overrides": {"recovery": 99}}, "overrides.recovery"),
        ({"start_after": {"seconds": -5}}, "start_after"),
        ({"wait": {"seconds": -5}}, "wait"),
    ],
)
def test_each_wrong_field_is_named(runs: Runs, request_fields: dict[str, Any], field: str) -> None:
    before = count(runs)
    with pytest.raises(grpc.RpcError) as error:
        runs.start("nothing", **request_fields)
    assert field in fields(error.value)
    assert count(runs) == before


def test_parameters_beyond_their_limit_are_refused(runs: Runs) -> None:
    with pytest.raises(grpc.RpcError) as error:
        runs.start("echo", json.dumps({"value": "x" * 300_000}))
    assert "262,144" in fields(error.value)["input"]


def test_an_error_with_a_thousand_violations_still_fits_into_the_trailers(runs: Runs) -> None:
    with pytest.raises(grpc.RpcError) as error:
        runs.start("greet", json.dumps({f"unknown_{'x' * 50}_{number}": 1 for number in range(1_000)}))
    assert fields(error.value)


@pytest.mark.parametrize("provider", ["gone", "../x", "x" * 5_000, "\u202eabc"])
def test_an_unknown_provider_is_not_found(runs: Runs, provider: str) -> None:
    with pytest.raises(grpc.RpcError) as error:
        runs.start(provider)
    code, reason, details = refusal(error.value)
    assert (code, reason) == (grpc.StatusCode.NOT_FOUND, "PROVIDER_NOT_FOUND")
    assert details["ResourceInfo"].resource_type == "provider"


def test_the_same_request_again_answers_with_the_same_run(runs: Runs) -> None:
    request_id = str(uuid.uuid4())
    request = pb.StartRunRequest(provider="echo", input={"json": "{}"}, request_id=request_id)
    first, second = runs.StartRun(request), runs.StartRun(request)
    assert first.created
    assert not second.created
    assert first.run.id == second.run.id
    request.input.json = '{"value": 1}'
    with pytest.raises(grpc.RpcError) as error:
        runs.StartRun(request)
    assert refusal(error.value)[:2] == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")


def test_twenty_starts_at_once_with_one_request_id_make_one_run(runs: Runs) -> None:
    request = pb.StartRunRequest(provider="nothing", request_id=str(uuid.uuid4()))
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: runs.StartRun(request), range(20)))
    assert len({answer.run.id for answer in answers}) == 1
    assert [answer.created for answer in answers].count(True) == 1


def test_execute_joins_the_run_that_a_start_with_its_request_id_made(runs: Runs) -> None:
    start = pb.StartRunRequest(provider="nothing", request_id=str(uuid.uuid4()))
    run = runs.StartRun(start).run
    responses = list(runs.ExecuteRun(pb.ExecuteRunRequest(start=start)))
    assert responses[0].frame.snapshot.run.id == run.id
    assert not any(response.created for response in responses)


def test_a_chosen_run_id_is_taken_once(runs: Runs) -> None:
    run_id = f"mine-{uuid.uuid4()}"
    assert runs.start("nothing", run_id=run_id).id == run_id
    with pytest.raises(grpc.RpcError) as error:
        runs.start("nothing", run_id=run_id)
    assert refusal(error.value)[:2] == (grpc.StatusCode.ALREADY_EXISTS, "RUN_ID_TAKEN")
    policy = pb.StartRunRequest.CONFLICT_POLICY_USE_EXISTING
    again = runs.StartRun(pb.StartRunRequest(provider="nothing", run_id=run_id, conflict_policy=policy))
    assert not again.created
    assert again.run.id == run_id


def test_a_start_that_only_validates_stores_nothing(runs: Runs) -> None:
    before = count(runs)
    run = runs.start("greet", '{"name": "Ada"}', validate_only=True)
    assert run.id == ""
    assert run.input.json
    assert count(runs) == before


def test_overrides_change_what_they_name_and_a_masked_unset_field_goes_back_to_the_default(
    runs: Runs,
) -> None:
    run = runs.start("nothing", overrides={"priority": 7, "timeouts": {"run": {"seconds": 60}}})
    assert run.spec.priority == 7
    assert run.spec.timeouts.run.seconds == 60
    assert run.spec.timeouts.attempt.seconds == 300
    masked = runs.start(
        "nothing",
        overrides={"priority": 7, "timeouts": {"attempt": {"seconds": 9}}},
        overrides_mask={"paths": ["timeouts.attempt"]},
    )
    assert masked.spec.priority == 0
    assert masked.spec.timeouts.attempt.seconds == 9
    unlimited = runs.start("nothing", overrides={"timeouts": {"attempt": {"seconds": 0}}})
    assert not unlimited.spec.timeouts.HasField("attempt")


def test_a_batch_gives_each_start_an_outcome_of_its_own(runs: Runs) -> None:
    good = pb.StartRunRequest(provider="nothing")
    bad = pb.StartRunRequest(provider="greet")
    gone = pb.StartRunRequest(provider="gone")
    results = runs.BatchStartRuns(pb.BatchStartRunsRequest(requests=[good, bad, gone, good])).results
    assert [result.WhichOneof("result") for result in results] == ["started", "error", "error", "started"]
    assert [result.error.code for result in results[1:3]] == [3, 5]
    for result in (results[0], results[3]):
        assert runs.wait(result.started.run.id).state == run_pb2.Run.STATE_SUCCEEDED


@pytest.mark.parametrize("requests", [[], [pb.StartRunRequest(provider="nothing")] * 1_001])
def test_a_batch_is_of_one_to_a_thousand(runs: Runs, requests: list[object]) -> None:
    with pytest.raises(grpc.RpcError) as error:
        runs.BatchStartRuns(pb.BatchStartRunsRequest(requests=requests))
    assert "requests" in fields(error.value)


def test_a_thousand_runs_in_a_batch_all_end(runs: Runs) -> None:
    requests = [pb.StartRunRequest(provider="nothing", labels={"batch": "big"})] * 1_000
    results = runs.BatchStartRuns(pb.BatchStartRunsRequest(requests=requests)).results
    for result in results:
        assert runs.wait(result.started.run.id).state == run_pb2.Run.STATE_SUCCEEDED


def test_a_run_can_be_scheduled_and_cancelled_before_it_begins(runs: Runs) -> None:
    run = runs.start("nothing", start_after={"seconds": 4_000_000_000})
    assert run.state == run_pb2.Run.STATE_SCHEDULED
    cancelled = runs.CancelRun(pb.CancelRunRequest(run_id=run.id, reason="changed my mind")).run
    assert cancelled.state == run_pb2.Run.STATE_CANCELLED
    assert cancelled.cancellation.reason == "changed my mind"
    again = runs.CancelRun(pb.CancelRunRequest(run_id=run.id, reason="twice")).run
    assert again == cancelled


@pytest.mark.parametrize(
    ("request_fields", "field"),
    [
        ({"overrides_mask": {"paths": ["retry"] * 500_000}}, "overrides_mask"),
        (
            {"overrides": {"retry": {"non_retryable_reasons": ["x"] * 500_000}}},
            "overrides.retry.non_retryable_reasons",
        ),
        ({"labels": {str(number): "x" for number in range(50_000)}}, "labels"),
    ],
)
def test_what_is_far_too_many_is_refused_before_it_costs_anybody_time(
    runs: Runs, request_fields: dict[str, Any], field: str
) -> None:
    begun = time.monotonic()
    with pytest.raises(grpc.RpcError) as error:
        runs.start("nothing", **request_fields)
    assert field in fields(error.value)
    assert time.monotonic() - begun < 2


@pytest.mark.parametrize("body", [b"\xff\xff\xff", b"\x0a\x02\xff\xfe", b"\x1a" * 50])
@pytest.mark.parametrize("method", ["StartRun", "WatchRun", "PauseRun"])
def test_what_cannot_be_read_is_an_invalid_argument(
    grpc_channel: grpc.Channel, method: str, body: bytes
) -> None:
    make: Any = grpc_channel.unary_stream if method == "WatchRun" else grpc_channel.unary_unary
    call = make(f"/runcast.v1.RunService/{method}", request_serializer=bytes, response_deserializer=bytes)
    with pytest.raises(grpc.RpcError) as error:
        list(call(body, timeout=10))
    assert "request" in fields(error.value)


def test_a_value_nested_deeper_than_the_wire_reads_is_an_invalid_argument(runs: Runs) -> None:
    request = pb.StartRunRequest(provider="echo")
    value = request.input.value
    for _ in range(60):
        value = value.list_value.values.add()
    with pytest.raises(grpc.RpcError) as error:
        runs.StartRun(request)
    assert fields(error.value)
