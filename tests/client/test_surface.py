"""What the package promises by name, and what importing it costs."""

import inspect
import subprocess
import sys
from collections.abc import Mapping

import runcast.client
from runcast.client import AttachedRun, Client, Outcomes, RunStream, RunTable, TableStream, Tasks, errors

NAMES = [
    "AttachedRun",
    "Outcome",
    "Outcomes",
    "RunTable",
    "TableChange",
    "TableStream",
    "Aborted",
    "AlreadyExists",
    "ArtifactRef",
    "Attempt",
    "Backoff",
    "Client",
    "ClientClosed",
    "DataLoss",
    "DeadlineExceeded",
    "FailedPrecondition",
    "FeatureOff",
    "Gap",
    "InvalidArgument",
    "NotFound",
    "OutOfRange",
    "Payload",
    "PermissionDenied",
    "Progress",
    "Provider",
    "RecoveryPolicy",
    "ResourceExhausted",
    "RetryPolicy",
    "RpcError",
    "Run",
    "RunCancelled",
    "RunError",
    "RunEvent",
    "RunFailed",
    "RunFilters",
    "RunNotFinal",
    "RunSpec",
    "RunStream",
    "RunTimedOut",
    "RuncastError",
    "StartOptions",
    "StartRunRequest",
    "Task",
    "TaskFields",
    "Tasks",
    "Timeouts",
    "Unauthenticated",
    "Unavailable",
    "Violation",
    "is_final",
    "kind",
    "result_of",
    "run_spec",
    "start_request",
    "state_name",
    "state_of",
    "to_dict",
    "to_payload",
    "to_python",
]
METHODS = [
    "attach",
    "attempts",
    "cancel",
    "close",
    "delete",
    "events",
    "execute",
    "execute_all",
    "get",
    "health",
    "list",
    "open",
    "pause",
    "provider",
    "providers",
    "resume",
    "retry",
    "run",
    "server_info",
    "start",
    "start_many",
    "tasks",
    "wait",
    "watch",
    "watch_runs",
]
TASKS = ["create", "delete", "get", "list", "update"]
STREAM = [
    "cancel",
    "caught_up",
    "created",
    "final",
    "gaps",
    "id",
    "progress",
    "reconnects",
    "result",
    "resume_sequence",
    "snapshot",
    "state",
]


def public(kind: type) -> set[str]:
    """The names of a class, those that it inherits included, that do not begin with an underscore."""
    return {name for name in dir(kind) if not name.startswith("_")}


def test_the_package_exports_these_names_and_no_others() -> None:
    assert sorted(runcast.client.__all__) == sorted(NAMES)
    assert all(hasattr(runcast.client, name) for name in NAMES)


def test_every_error_is_exported() -> None:
    tree = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, errors.RuncastError)
    }
    assert tree <= set(runcast.client.__all__)


def test_the_client_has_these_methods_and_each_says_what_it_does() -> None:
    assert public(Client) == set(METHODS)
    assert all(inspect.getdoc(getattr(Client, name)) for name in METHODS)


def test_the_tasks_of_a_client_have_these_methods_and_each_says_what_it_does() -> None:
    assert public(Tasks) == set(TASKS)
    assert all(inspect.getdoc(getattr(Tasks, name)) for name in TASKS)


def test_what_is_followed_has_these_names() -> None:
    assert public(RunStream) | {"created", "caught_up", "reconnects"} == set(STREAM)
    more = {"attachment_id", "detach", "pause", "resume"}
    assert public(AttachedRun) | {"created", "caught_up", "reconnects"} == {*STREAM, *more}
    assert public(TableStream) | {"reconnects"} == {"resume_token", "reconnects"}
    assert public(RunTable) == {"apply", "complete", *public(Mapping)}
    assert public(Outcomes) == {"cancel"}


def test_the_client_needs_neither_the_server_nor_its_packages() -> None:
    program = """
import sys
import runcast.client
heavy = ("runcast.server", "runcast.provider", "grpc_status", "grpc_health.v1", "msgspec", "pydantic", "typer", "rich",
         "google.protobuf.json_format", "google.rpc.error_details_pb2")
print(*[name for name in heavy if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=50
    )
    assert done.stdout.split() == []
