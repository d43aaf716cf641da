"""Start runs on a Runcast server, follow them live from any point, and ask for their end.

    async with Client("localhost:7433") as client:
        async with client.execute("greet", {"name": "Ada"}) as run:
            async for event in run:
                print(event.sequence, kind(event))
        print(run.result())

Programs without an event loop take `runcast.client.sync`; `runcast.client.testing` serves providers in a test.

What the server says comes as the messages of `runcast.v1`; `kind`, `to_python`, `to_dict`, `state_name` and `is_final`
read them.
"""

from runcast.client.attached import AttachedRun
from runcast.client.backoff import Backoff
from runcast.client.client import Client
from runcast.client.errors import (
    Aborted,
    AlreadyExists,
    ClientClosed,
    DataLoss,
    DeadlineExceeded,
    FailedPrecondition,
    FeatureOff,
    InvalidArgument,
    NotFound,
    OutOfRange,
    PermissionDenied,
    ResourceExhausted,
    RpcError,
    RunCancelled,
    RuncastError,
    RunError,
    RunFailed,
    RunNotFinal,
    RunTimedOut,
    Unauthenticated,
    Unavailable,
    Violation,
)
from runcast.client.filters import RunFilters
from runcast.client.followed import Gap, result_of
from runcast.client.outcomes import Outcome, Outcomes
from runcast.client.payload import ArtifactRef, kind, to_dict, to_payload, to_python
from runcast.client.run_stream import RunStream
from runcast.client.run_table import RunTable, TableChange, TableStream
from runcast.client.starting import StartOptions, run_spec, start_request
from runcast.client.states import is_final, state_name, state_of
from runcast.client.tasks import TaskFields, Tasks
from runcast.v1.event_pb2 import RunEvent
from runcast.v1.payload_pb2 import Payload
from runcast.v1.provider_pb2 import Provider
from runcast.v1.run_pb2 import Attempt, Progress, Run
from runcast.v1.run_service_pb2 import StartRunRequest
from runcast.v1.run_spec_pb2 import RecoveryPolicy, RetryPolicy, RunSpec, Timeouts
from runcast.v1.task_pb2 import Task

__all__ = [
    "Aborted",
    "AlreadyExists",
    "ArtifactRef",
    "AttachedRun",
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
    "Outcome",
    "Outcomes",
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
    "RunTable",
    "RunTimedOut",
    "RuncastError",
    "StartOptions",
    "StartRunRequest",
    "TableChange",
    "TableStream",
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
