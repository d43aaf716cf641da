"""google.longrunning.Operations on the wire: waiting, pages, refusals, and what a stranger sees of it."""

import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from runcast.v1 import operation_pb2, run_pb2, run_service_pb2_grpc, run_spec_pb2
from tests.rpc.calls import PATIENCE, Runs, refusal, stub_of
from tests.rpc.conftest import PROVIDERS
from tests.rpc.longrunning import SERVICE, Operations, kinds, lro
from tests.rpc.reflecting import ReflectingClient
from tests.serving import ServerProcess


@pytest.fixture
def operations(grpc_channel: grpc.Channel) -> Operations:
    """The service of the module's server."""
    return Operations(grpc_channel)


@pytest.fixture
def forever(runs: Runs, tmp_path: Path) -> run_pb2.Run:
    """A run that runs until the file `go` of the test's folder exists."""
    return runs.start("until", f'{{"path": "{tmp_path / "go"}"}}')


def test_operations_leave_an_interrupted_run_where_it_is(tmp_path: Path) -> None:
    store, path = f"sqlite:///{tmp_path / 'runs.db'}", tmp_path / "go"
    policy = {"recovery": run_spec_pb2.RECOVERY_POLICY_RESUME_ON_WATCH}
    with ServerProcess(store, [PROVIDERS]) as first, grpc.insecure_channel(first.address) as channel:
        runs = Runs(stub_of(run_service_pb2_grpc.RunServiceStub, channel))
        run = runs.start("until", f'{{"path": "{path}", "lines": 1}}', overrides=policy)
        assert any(frame.batch.events for frame in runs.watch(run.id) if frame.WhichOneof("frame") == "batch")
        first.kill()
    path.touch()
    with ServerProcess(store, [PROVIDERS]) as second, grpc.insecure_channel(second.address) as channel:
        operations = Operations(channel)
        for operation in (
            operations.get(run.id),
            operations.wait(run.id, nanos=300_000_000),
            operations.page().operations[0],
            operations.get(run.id),
        ):
            told = operation_pb2.RunOperationMetadata.FromString(operation.metadata.value)
            assert (operation.done, told.state) == (False, run_pb2.Run.STATE_INTERRUPTED)


# Deleting.


def test_an_operation_that_is_deleted_is_gone_with_its_run(operations: Operations, runs: Runs) -> None:
    name = f"operations/{runs.finished('nothing').id}"
    operations.client.delete_operation(name)
    with pytest.raises(kinds.NotFound):
        operations.client.get_operation(name)
    with pytest.raises(kinds.NotFound):
        operations.client.delete_operation(name)
    with pytest.raises(grpc.RpcError) as error:
        runs.wait(name.removeprefix("operations/"))
    assert refusal(error.value)[1] == "RUN_NOT_FOUND"
    assert name not in operations.names(page_size=1_000)


def test_an_operation_that_is_not_done_is_not_deleted(operations: Operations, forever: run_pb2.Run) -> None:
    name = f"operations/{forever.id}"
    with pytest.raises(grpc.RpcError) as error:
        operations.stub.DeleteOperation(lro.DeleteOperationRequest(name=name), timeout=PATIENCE)
    code, reason, details = refusal(error.value)
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "RUN_STATE")
    assert details["ErrorInfo"].metadata["state"] == "RUNNING"
    assert not operations.get(forever.id).done
    operations.client.cancel_operation(name)


# Waiting.


def test_a_wait_answers_at_the_end(operations: Operations, forever: run_pb2.Run, tmp_path: Path) -> None:
    request = lro.WaitOperationRequest(name=f"operations/{forever.id}")
    waiting = operations.stub.WaitOperation.future(request, timeout=PATIENCE)
    (tmp_path / "go").touch()
    assert waiting.result().done


def test_a_wait_answers_after_its_time_with_the_operation_as_it_stands(
    operations: Operations, forever: run_pb2.Run
) -> None:
    for timeout in (0.0, 0.3):
        began = time.monotonic()
        operation = operations.wait(forever.id, seconds=0, nanos=int(timeout * 1e9))
        assert timeout <= time.monotonic() - began < timeout + PATIENCE / 2
        assert not operation.done
        assert operation.metadata.Is(operation_pb2.RunOperationMetadata.DESCRIPTOR)
    operations.client.cancel_operation(f"operations/{forever.id}")


def test_a_wait_answers_before_the_callers_deadline(operations: Operations, forever: run_pb2.Run) -> None:
    assert not operations.wait(forever.id, patience=1).done
    assert not operations.wait(forever.id, patience=1, seconds=30).done
    operations.client.cancel_operation(f"operations/{forever.id}")


def test_a_wait_ends_with_its_server(tmp_path: Path) -> None:
    path = tmp_path / "go"
    with ServerProcess(providers=[PROVIDERS]) as server, grpc.insecure_channel(server.address) as channel:
        runs = Runs(stub_of(run_service_pb2_grpc.RunServiceStub, channel))
        run = runs.start("until", f'{{"path": "{path}"}}')
        operations = Operations(channel)
        request = lro.WaitOperationRequest(name=f"operations/{run.id}")
        waiting = operations.stub.WaitOperation.future(request)
        assert not operations.wait(run.id, nanos=100_000_000).done
        server.process.terminate()
        assert not waiting.result(timeout=PATIENCE).done
        path.touch()
        assert server.process.wait(PATIENCE) == 0


# Lists.


def test_pages_are_the_runs_newest_first_and_neither_skip_nor_repeat(
    operations: Operations, runs: Runs
) -> None:
    started = [f"operations/{runs.finished('nothing').id}" for _ in range(7)]
    *full, _ = operations.pages(page_size=3)
    assert {len(page) for page in full} == {3}
    names = operations.names(page_size=3)
    assert names[:7] == started[::-1]
    assert len(set(names)) == len(names)
    assert [operation.name for operation in operations.client.list_operations("operations", "")] == names


def test_what_is_done_and_what_is_not_are_listed_apart(
    operations: Operations, runs: Runs, forever: run_pb2.Run
) -> None:
    ended = runs.finished("fail").id
    done = operations.names(filter="done=true", page_size=5)
    open_ = operations.names(filter=" done = false", page_size=5)
    assert f"operations/{ended}" in done
    assert f"operations/{forever.id}" in open_
    assert not set(done) & set(open_)
    operations.client.cancel_operation(f"operations/{forever.id}")


def test_pages_are_cut_by_bytes_too(operations: Operations, runs: Runs) -> None:
    newest = [f"operations/{runs.finished('big').id}" for _ in range(4)][::-1]
    first, second, *_ = operations.pages(page_size=1_000)
    assert len(first) < 4
    assert [*first, *second][:4] == newest


# Refusals.


@pytest.mark.parametrize("name", ["", "run_1", "operations", "operations/", "operations/a/b", "runs/run_1"])
@pytest.mark.parametrize("call", ["Get", "Wait", "Cancel", "Delete"])
def test_a_name_of_another_form_is_refused_with_the_right_one(
    operations: Operations, call: str, name: str
) -> None:
    request = getattr(lro, f"{call}OperationRequest")(name=name)
    with pytest.raises(grpc.RpcError) as error:
        getattr(operations.stub, f"{call}Operation")(request, timeout=PATIENCE)
    code, _, details = refusal(error.value)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    (violation,) = details["BadRequest"].field_violations
    assert violation.field == "name"
    assert repr(name) in violation.description
    assert "'operations/' and the id of a run" in violation.description


@pytest.mark.parametrize("call", ["Get", "Wait", "Cancel", "Delete"])
def test_an_operation_that_does_not_exist_is_not_found(operations: Operations, call: str) -> None:
    request = getattr(lro, f"{call}OperationRequest")(name="operations/run_gone")
    with pytest.raises(grpc.RpcError) as error:
        getattr(operations.stub, f"{call}Operation")(request, timeout=PATIENCE)
    code, reason, details = refusal(error.value)
    assert (code, reason) == (grpc.StatusCode.NOT_FOUND, "RUN_NOT_FOUND")
    assert details["ResourceInfo"].resource_name == "run_gone"
    with pytest.raises(kinds.NotFound):
        operations.client.get_operation("operations/run_gone")


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("name", {"name": ""}),
        ("name", {"name": "operations/"}),
        ("filter", {"filter": "state=RUNNING"}),
        ("filter", {"filter": "done=yes"}),
        ("page_size", {"page_size": -1}),
        ("page_token", {"page_token": "nonsense"}),
    ],
)
def test_a_list_that_is_not_served_is_refused_and_never_ignored(
    operations: Operations, field: str, fields: dict[str, Any]
) -> None:
    with pytest.raises(grpc.RpcError) as error:
        operations.page(**fields)
    code, _, details = refusal(error.value)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert details["BadRequest"].field_violations[0].field == field


def test_a_token_fits_its_own_filter_only(operations: Operations, runs: Runs) -> None:
    for _ in range(2):
        runs.finished("nothing")
    token = operations.page(page_size=1).next_page_token
    with pytest.raises(grpc.RpcError) as error:
        operations.page(page_token=token, filter="done=true")
    assert refusal(error.value)[0] is grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(grpc.RpcError) as error:
        operations.page(return_partial_success=True)
    assert refusal(error.value)[:2] == (grpc.StatusCode.UNIMPLEMENTED, "FEATURE_OFF")


def test_a_time_to_wait_that_is_negative_is_refused(operations: Operations, runs: Runs) -> None:
    with pytest.raises(grpc.RpcError) as error:
        operations.wait(runs.finished("nothing").id, seconds=-1)
    code, _, details = refusal(error.value)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert details["BadRequest"].field_violations[0].field == "timeout"


# Strangers.


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_a_client_that_knows_nothing_finds_and_reads_operations(
    grpc_channel: grpc.Channel, runs: Runs, version: str
) -> None:
    stranger = ReflectingClient(grpc_channel, version)
    assert SERVICE in stranger.services()
    run = runs.finished("echo", '{"value": 5}')
    (operation,) = stranger.call(f"{SERVICE}/GetOperation", f'{{"name": "operations/{run.id}"}}')
    assert operation["metadata"]["@type"] == "type.googleapis.com/runcast.v1.RunOperationMetadata"
    assert operation["metadata"]["state"] == "STATE_SUCCEEDED"
    assert operation["response"]["output"]["json"] == "5"


def test_the_service_is_healthy_and_the_server_tells_of_it(grpc_channel: grpc.Channel) -> None:
    health = stub_of(health_pb2_grpc.HealthStub, grpc_channel)
    answer = health.Check(health_pb2.HealthCheckRequest(service=SERVICE), timeout=PATIENCE)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    (info,) = ReflectingClient(grpc_channel, "v1").call("runcast.v1.ServerService/GetServerInfo")
    assert "operations" in info["features"]
    assert f"{SERVICE}/WaitOperation" in info["methods"]
