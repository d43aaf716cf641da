"""A stranger's tools work untouched: reflection, health, grpcurl, and a clear word where a feature is off."""

import json
import os
import shutil
import subprocess
import uuid
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from runcast.v1 import server_service_pb2, server_service_pb2_grpc
from tests.rpc.calls import refusal, stub_of
from tests.rpc.reflecting import ReflectingClient
from tests.serving import ServerProcess

GRPCURL = "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3"
ON = {
    "google.longrunning.Operations": {
        *("GetOperation", "ListOperations", "WaitOperation", "CancelOperation", "DeleteOperation"),
    },
    "runcast.v1.ProviderService": {"GetProvider", "ListProviders"},
    "runcast.v1.RunService": {
        *("StartRun", "BatchStartRuns", "GetRun", "ListRuns", "WaitRun", "ExecuteRun", "WatchRun"),
        *("CancelRun", "PauseRun", "ResumeRun", "RetryRun", "DeleteRun", "AttachRun"),
        *("ListAttempts", "ListRunEvents", "WatchRuns"),
    },
    "runcast.v1.ServerService": {"GetServerInfo"},
    "runcast.v1.TaskService": {"CreateTask", "GetTask", "ListTasks", "UpdateTask", "DeleteTask"},
}


@pytest.fixture(params=["v1", "v1alpha"])
def stranger(request: pytest.FixtureRequest, grpc_channel: grpc.Channel) -> ReflectingClient:
    """A client that knows nothing."""
    return ReflectingClient(grpc_channel, request.param)


def test_reflection_lists_every_service(stranger: ReflectingClient) -> None:
    services = stranger.services()
    ours = ("Provider", "Task", "Run", "Schedule", "Artifact", "Queue", "Server")
    assert {f"runcast.v1.{name}Service" for name in ours} <= set(services)
    assert {"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"} <= set(services)
    for service in services:
        if service.startswith("runcast."):
            assert stranger.methods(service)


def test_a_persons_first_three_calls_work_exactly_so(stranger: ReflectingClient) -> None:
    (started,) = stranger.call(
        "runcast.v1.RunService/StartRun", '{"provider":"greet","input":{"value":{"name":"Ada"}}}'
    )
    assert started["created"] is True
    frames = stranger.call(
        "runcast.v1.RunService/ExecuteRun",
        '{"start":{"provider":"greet","input":{"json":"{\\"name\\":\\"Ada\\"}"}}}',
    )
    last = frames[-1]["frame"]["completed"]["run"]
    assert last["state"] == "STATE_SUCCEEDED"
    assert "Ada" in last["output"]["json"]
    watched = stranger.call("runcast.v1.RunService/WatchRun", json.dumps({"run_id": started["run"]["id"]}))
    assert "snapshot" in watched[0]["frame"]
    assert "completed" in watched[-1]["frame"]


def test_a_stranger_reaches_everything_that_is_on(
    stranger: ReflectingClient, grpc_channel: grpc.Channel
) -> None:
    """In an order in which each call finds what it needs."""
    run, task = f"stranger-{uuid.uuid4().hex}", f"task-{uuid.uuid4().hex}"
    ended = {"runId": run}
    later = {"provider": "echo", "startAfter": "2099-01-01T00:00:00Z", "runId": f"{run}-later"}
    operation = {"name": f"operations/{run}"}
    calls: list[tuple[str, dict[str, Any]]] = [
        ("ServerService/GetServerInfo", {}),
        ("ProviderService/ListProviders", {}),
        ("ProviderService/GetProvider", {"name": "echo"}),
        ("RunService/StartRun", {"provider": "echo", "runId": run, "wait": "20s"}),
        ("RunService/BatchStartRuns", {"requests": [{"provider": "echo"}, {"provider": "echo"}]}),
        ("RunService/ExecuteRun", {"start": {"provider": "echo"}}),
        ("RunService/AttachRun", {"open": ended}),
        *((f"RunService/{name}", ended) for name in ("GetRun", "WaitRun", "WatchRun", "ListRunEvents")),
        *((f"RunService/{name}", ended) for name in ("ListAttempts", "CancelRun", "RetryRun")),
        *((f"RunService/{name}", {}) for name in ("ListRuns", "WatchRuns")),
        ("RunService/StartRun", later),
        *(
            (f"RunService/{name}", {"runId": later["runId"]})
            for name in ("PauseRun", "ResumeRun", "CancelRun")
        ),
        ("TaskService/CreateTask", {"task": {"id": task, "provider": "echo"}}),
        ("TaskService/UpdateTask", {"task": {"id": task, "enabled": True}}),
        ("TaskService/GetTask", {"id": task}),
        ("TaskService/ListTasks", {}),
        ("TaskService/DeleteTask", {"id": task}),
        *((f"google.longrunning.Operations/{name}", operation) for name in ("GetOperation", "WaitOperation")),
        ("google.longrunning.Operations/ListOperations", {"name": "operations"}),
        ("google.longrunning.Operations/CancelOperation", operation),
        ("google.longrunning.Operations/DeleteOperation", operation),
        ("RunService/DeleteRun", {"runId": later["runId"]}),
    ]
    for name, request in calls:
        path = name if name.startswith("google") else f"runcast.v1.{name}"
        assert stranger.call(path, json.dumps(request), most=2), path
    reached = {name if name.startswith("google") else f"runcast.v1.{name}" for name, _ in calls}
    assert reached == {f"{service}/{name}" for service, names in ON.items() for name in names}


def test_what_is_off_says_so_and_the_server_lists_what_is_on(
    stranger: ReflectingClient, grpc_channel: grpc.Channel
) -> None:
    info = stub_of(server_service_pb2_grpc.ServerServiceStub, grpc_channel).GetServerInfo(
        server_service_pb2.GetServerInfoRequest()
    )
    listed = set(info.methods)
    assert listed == {f"{service}/{name}" for service, names in ON.items() for name in names}
    for service in stranger.services():
        if not service.startswith("runcast."):
            continue
        for method in stranger.methods(service):
            path = f"{service}/{method.name}"
            if path not in listed and not method.client_streaming:
                with pytest.raises(grpc.RpcError) as error:
                    stranger.call(path)
                code, reason, _ = refusal(error.value)
                assert (code, reason) == (grpc.StatusCode.UNIMPLEMENTED, "FEATURE_OFF"), path


def test_health_is_serving_for_each_service(stranger: ReflectingClient, grpc_channel: grpc.Channel) -> None:
    stub = stub_of(health_pb2_grpc.HealthStub, grpc_channel)
    for service in ["", *(name for name in stranger.services() if name.startswith("runcast."))]:
        answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_the_server_tells_what_it_is(grpc_channel: grpc.Channel) -> None:
    info = stub_of(server_service_pb2_grpc.ServerServiceStub, grpc_channel).GetServerInfo(
        server_service_pb2.GetServerInfoRequest()
    )
    assert info.storage == "sqlite"
    assert info.boot_id.startswith("boot_")
    assert info.limits.max_input_bytes == 256 * 1024
    assert info.server_time.seconds >= info.start_time.seconds > 1_700_000_000


@pytest.fixture(scope="module")
def grpcurl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real grpcurl, built once; the build is kept by Go itself."""
    go = shutil.which("go")
    if go is None:
        if os.environ.get("CI"):
            pytest.fail("Go is missing: it builds the grpcurl of this test")
        pytest.skip("Go is missing: it would build grpcurl")
    folder = tmp_path_factory.mktemp("go")
    built = subprocess.run(
        [go, "install", GRPCURL],
        env=os.environ | {"GOBIN": str(folder), "GOFLAGS": "-modcacherw"},
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode and not os.environ.get("CI"):
        pytest.skip(f"grpcurl cannot be built here: {built.stderr[-300:]}")
    assert built.returncode == 0, built.stderr
    return folder / "grpcurl"


@pytest.mark.timeout(400)
def test_the_real_grpcurl_starts_lists_and_describes(grpcurl: Path, server: ServerProcess) -> None:
    def run(*arguments: str) -> str:
        command = [str(grpcurl), "-plaintext", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        return done.stdout

    assert "runcast.v1.RunService" in run(server.address, "list")
    assert "rpc WatchRun" in run(server.address, "describe", "runcast.v1.RunService")
    request = '{"provider":"greet","input":{"value":{"name":"Ada"}}}'
    started = json.loads(run("-d", request, server.address, "runcast.v1.RunService/StartRun"))
    watched = run(
        "-d", json.dumps({"run_id": started["run"]["id"]}), server.address, "runcast.v1.RunService/WatchRun"
    )
    assert "STATE_SUCCEEDED" in watched
    name = json.dumps({"name": f"operations/{started['run']['id']}"})
    operation = json.loads(run("-d", name, server.address, "google.longrunning.Operations/WaitOperation"))
    assert "Ada" in operation["response"]["output"]["json"]
    executed = run(
        "-d",
        '{"start":{"provider":"greet","input":{"json":"{\\"name\\":\\"Ada\\"}"}}}',
        server.address,
        "runcast.v1.RunService/ExecuteRun",
    )
    assert '"completed"' in executed
