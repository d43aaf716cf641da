"""What the wire lets pass and the contract does not: numbers of no value, times that are none, texts that are too long."""

from typing import Any

import grpc
import pytest

from runcast.v1 import run_service_pb2 as pb
from tests.rpc.calls import refusal
from tests.rpc.door import Door


@pytest.mark.parametrize(
    ("rpc", "request_", "field"),
    [
        ("RunService/StartRun", {"provider": "nothing", "conflictPolicy": 9}, "conflict_policy"),
        ("RunService/StartRun", {"provider": "nothing", "parentClosePolicy": 9}, "parent_close_policy"),
        ("RunService/ListRunEvents", {"runId": "any", "eventTypes": ["log"] * 65}, "event_types"),
        (
            "RunService/ExecuteRun",
            {"start": {"provider": "nothing", "conflictPolicy": 9}},
            "start.conflict_policy",
        ),
        (
            "RunService/ExecuteRun",
            {"start": {"provider": "nothing"}, "ownership": {"policy": 9}},
            "ownership.policy",
        ),
        ("RunService/CancelRun", {"runId": "any", "mode": 9}, "mode"),
        ("RunService/ListRuns", {"orderBy": 9}, "order_by"),
        ("RunService/ListRuns", {"view": 9}, "view"),
        ("RunService/ListRuns", {"filter": {"states": [9]}}, "filter.states"),
        ("RunService/ListRuns", {"filter": {"text": "x" * 256}}, "filter.text"),
        ("RunService/ListRuns", {"filter": {"text": "?!"}}, "filter.text"),
        ("RunService/ListRuns", {"filter": {"ref": {"id": "only"}}}, "filter.ref.type"),
        ("RunService/WatchRuns", {"view": 9}, "view"),
        ("RunService/WatchRuns", {"filter": {"text": "x" * 256}}, "filter.text"),
        ("TaskService/ListTasks", {"filter": {"text": "x" * 256}}, "filter.text"),
        ("TaskService/ListTasks", {"filter": {"text": " ".join(map(str, range(33)))}}, "filter.text"),
    ],
)
def test_a_field_out_of_its_bounds_is_named(
    grpc_channel: grpc.Channel, rpc: str, request_: dict[str, Any], field: str
) -> None:
    with pytest.raises(grpc.RpcError) as error:
        Door(grpc_channel).call(rpc, request_)
    code, _, details = refusal(error.value)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert [violation.field for violation in details["BadRequest"].field_violations] == [field]


@pytest.mark.parametrize(("seconds", "nanos"), [(1, -1), (1, 10**9), (-1, 0), (-1, -5), (0, -1), (10**12, 0)])
def test_a_duration_that_is_none_is_refused(grpc_channel: grpc.Channel, seconds: int, nanos: int) -> None:
    request = pb.WaitRunRequest(run_id="any")
    request.timeout.seconds, request.timeout.nanos = seconds, nanos
    with pytest.raises(grpc.RpcError) as error:
        Door(grpc_channel).call("RunService/WaitRun", request.SerializeToString())
    code, _, details = refusal(error.value)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert details["BadRequest"].field_violations[0].field == "timeout"


@pytest.mark.parametrize("key", ["ß😀" * 30, "x" * 60 + "!"])
def test_the_longest_error_arrives_whole_whatever_it_is_written_in(
    grpc_channel: grpc.Channel, key: str
) -> None:
    wrong = {"task": {"provider": "nothing", "labels": {f"{key}{number}": "" for number in range(60)}}}
    for _ in range(40):  # too large a one is refused by chance
        with pytest.raises(grpc.RpcError) as error:
            Door(grpc_channel).call("TaskService/CreateTask", wrong)
        assert refusal(error.value)[0] is grpc.StatusCode.INVALID_ARGUMENT
