"""From a status to the error that a caller can act on."""

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2 as details
from google.rpc import status_pb2

from runcast.client import RpcError, RunCancelled, RuncastError, RunError, RunFailed, errors, result_of
from runcast.client.connection import error_from
from runcast.v1 import run_pb2
from tests.client.scripted import status

CODES = [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK]


def failure(
    code: grpc.StatusCode, message: str = "no", trailers: tuple[tuple[str, str | bytes], ...] = ()
) -> grpc.aio.AioRpcError:
    """What grpc raises where a call fails with this status."""
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailers), message)


def test_the_tree_at_the_top_of_the_module_is_the_tree() -> None:
    drawn = {line.strip("│├└─ ").split()[0] for line in (errors.__doc__ or "").splitlines() if "── " in line}

    def below(kind: type[Exception]) -> set[str]:
        return {kind.__name__}.union(*map(below, kind.__subclasses__()))

    assert drawn | {"RuncastError"} == below(RuncastError)


@pytest.mark.parametrize("code", CODES, ids=lambda code: str(code.name))
def test_each_status_has_its_class_with_or_without_details(code: grpc.StatusCode) -> None:
    bare = error_from(failure(code))
    full = error_from(
        failure(code, trailers=(("grpc-status-details-bin", status(code, "WHY").SerializeToString()),))
    )
    assert type(bare) is type(full)
    assert bare.code == full.code == code.name
    assert (bare.reason, full.reason) == ("", "WHY")
    general = code.name in ("CANCELLED", "UNKNOWN", "INTERNAL")
    assert (type(bare) is RpcError) == general


def test_a_wrong_request_names_each_field() -> None:
    wrong = details.BadRequest(
        field_violations=[
            details.BadRequest.FieldViolation(field="input.path", description="is required"),
            details.BadRequest.FieldViolation(field="labels", description="too many"),
        ]
    )
    error = errors.error_of(
        status(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", wrong, message="2 are wrong")
    )
    assert error.violations == (("input.path", "is required"), ("labels", "too many"))
    assert str(error).splitlines() == [
        "INVALID_ARGUMENT (INVALID_ARGUMENT): 2 are wrong",
        "  input.path: is required",
        "  labels: too many",
    ]


def test_preconditions_and_quotas_are_violations_too() -> None:
    state = details.PreconditionFailure(violations=[{"type": "RUN_STATE", "subject": "run_1"}])
    quota = details.QuotaFailure(violations=[{"subject": "queue:default", "description": "full"}])
    precondition = errors.error_of(
        status(grpc.StatusCode.FAILED_PRECONDITION, "RUN_STATE", state, state="PAUSED")
    )
    exhausted = errors.error_of(status(grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL", quota))
    assert precondition.violations == (("run_1", ""),)
    assert precondition.metadata == {"state": "PAUSED"}
    assert exhausted.violations == (("queue:default", "full"),)


def test_a_reason_of_somebody_elses_domain_is_not_ours() -> None:
    made = status_pb2.Status(code=14, message="away")
    made.details.add().Pack(details.ErrorInfo(reason="PROXY_DOWN", domain="proxy.example"))
    made.details.add().Pack(details.RetryInfo(retry_delay=Duration(seconds=2, nanos=500_000_000)))
    error = errors.error_of(made)
    assert (error.reason, error.retry_after) == ("", 2.5)


def test_details_that_cannot_be_read_are_passed_over() -> None:
    made = status_pb2.Status(code=5, message="gone")
    made.details.add(type_url="type.googleapis.com/of.the.Future", value=b"\xff")
    made.details.add(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=b"\xff")
    assert errors.error_of(made).reason == ""
    broken = failure(grpc.StatusCode.NOT_FOUND, "gone", (("grpc-status-details-bin", b"\xff"),))
    assert error_from(broken).message == "gone"


def test_a_code_of_the_future_is_an_error_of_the_root() -> None:
    error = errors.error_of(status_pb2.Status(code=99, message="new"))
    assert (type(error), error.code) == (RpcError, "UNKNOWN")


def test_an_error_can_be_pickled_and_copied() -> None:
    import copy
    import pickle

    error = errors.error_of(status(grpc.StatusCode.NOT_FOUND, "RUN_NOT_FOUND", message="no run"))
    outcome = RunFailed(run_pb2.Run(id="run_1", state=run_pb2.Run.STATE_FAILED))
    for original in (error, outcome):
        for other in (copy.copy(original), pickle.loads(pickle.dumps(original))):
            assert (type(other), str(other)) == (type(original), str(original))
            assert getattr(other, "reason", None) == getattr(original, "reason", None)


def test_the_error_of_a_run_tells_its_reason_and_carries_the_run() -> None:
    run = run_pb2.Run(id="run_1", state=run_pb2.Run.STATE_FAILED)
    run.error.CopyFrom(status(grpc.StatusCode.ABORTED, "EXIT_CODE", message="exit code 3", exit_code="3"))
    with pytest.raises(RunFailed) as caught:
        result_of(run)
    error = caught.value
    assert (error.run, error.reason, error.code) == (run, "EXIT_CODE", "ABORTED")
    assert error.details.metadata == {"exit_code": "3"}
    assert str(error) == "run run_1 is FAILED: exit code 3"


def test_a_cancelled_run_tells_the_words_of_whoever_ended_it() -> None:
    run = run_pb2.Run(id="run_1", state=run_pb2.Run.STATE_CANCELLED)
    run.cancellation.reason = "enough"
    with pytest.raises(RunCancelled, match="run run_1 is CANCELLED: enough"):
        result_of(run)
    assert issubclass(RunCancelled, RunError)
