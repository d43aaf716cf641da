"""Every error that this client raises, as one tree.

RuncastError
├── RpcError               a call failed; this class itself: INTERNAL, UNKNOWN, CANCELLED
│   ├── InvalidArgument    a field of the request is wrong; `violations` names each
│   ├── NotFound           no such run, provider, task …
│   ├── AlreadyExists      the id is taken, or the request id was used for another request
│   ├── FailedPrecondition the resource's state forbids it
│   ├── Aborted            somebody else changed it first: read again
│   ├── ResourceExhausted  a limit is reached; come back after `retry_after`
│   ├── Unavailable        no connection, or the server drains, or its store is away
│   ├── OutOfRange         a sequence outside of the journal
│   ├── FeatureOff         not switched on at this server
│   ├── DataLoss           what is stored is damaged
│   ├── PermissionDenied   the credentials do not allow it
│   ├── Unauthenticated    there are no credentials, or they are not valid
│   └── DeadlineExceeded   no answer within the call's timeout
├── RunError               a run has no result; carries the run
│   ├── RunFailed          its last attempt failed, or it could not be recovered
│   ├── RunCancelled       it was ended on request
│   ├── RunTimedOut        one of its timeouts passed
│   └── RunNotFinal        it has not ended yet
└── ClientClosed           the client was used before it was opened, or after it was closed

A run that fails is not an error of the call that watches it: only asking for its result raises RunError.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError, Message
from google.rpc import status_pb2

from runcast.client.states import state_name
from runcast.v1 import run_pb2

DOMAIN = "runcast.v1"


class Violation(NamedTuple):
    """One thing that is wrong: a field's path (`input.seconds`), a resource or a limit, and what is wrong with it."""

    subject: str
    description: str


class RuncastError(Exception):
    """The root of all that this client raises of its own."""


class ClientClosed(RuncastError):
    """The client was used before it was opened or after it was closed."""


class Details(NamedTuple):
    """What the details of a status tell, whatever their order; the first of a kind counts."""

    reason: str = ""
    metadata: Mapping[str, str] = {}
    violations: tuple[Violation, ...] = ()
    retry_after: float | None = None


class RpcError(RuncastError):
    """A call failed.

    `code` is the gRPC status's name, such as `NOT_FOUND`; `reason` says it for a program, such as `RUN_NOT_FOUND`, and
    is empty where the failure did not come from a Runcast server but from the network. `message` is for a person,
    `metadata` the reason's context. `retry_after`, in seconds, is when the server says to come back.
    """

    code = "UNKNOWN"

    def __init__(self, message: str, *, code: str = "", details: Details | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.details = details or Details()
        self.repeated = False
        """Whether the call was tried before and got no answer, so that what it asked for may have happened then."""

    @property
    def reason(self) -> str:
        """Why, for a program; empty where no Runcast server said it."""
        return self.details.reason

    @property
    def metadata(self) -> Mapping[str, str]:
        """The reason's context, such as the state that a run is in."""
        return self.details.metadata

    @property
    def violations(self) -> tuple[Violation, ...]:
        """What is wrong, one by one: fields, preconditions or quotas."""
        return self.details.violations

    @property
    def retry_after(self) -> float | None:
        """Seconds after which the server says to come back; None where it does not say."""
        return self.details.retry_after

    def __str__(self) -> str:
        lines = [f"{self.code}{f' ({self.reason})' if self.reason else ''}: {self.message}"]
        lines += [f"  {subject}: {description}" for subject, description in self.violations]
        return "\n".join(lines)


class InvalidArgument(RpcError):
    """A field of the request is wrong; `violations` has one entry for each."""

    code = "INVALID_ARGUMENT"


class NotFound(RpcError):
    """There is no such run, provider or task, or it is not yours."""

    code = "NOT_FOUND"


class AlreadyExists(RpcError):
    """The run id is taken, or the request id was used for another request."""

    code = "ALREADY_EXISTS"


class FailedPrecondition(RpcError):
    """The resource's state forbids it: `metadata["state"]` names a run's."""

    code = "FAILED_PRECONDITION"


class Aborted(RpcError):
    """Somebody else changed the resource first: read it again."""

    code = "ABORTED"


class ResourceExhausted(RpcError):
    """A limit is reached, and nothing was stored; come back after `retry_after`."""

    code = "RESOURCE_EXHAUSTED"


class Unavailable(RpcError):
    """No server answered, or it drains, or its store is away. What was asked for may have happened."""

    code = "UNAVAILABLE"


class OutOfRange(RpcError):
    """A sequence lies outside of the run's journal."""

    code = "OUT_OF_RANGE"


class FeatureOff(RpcError):
    """The call is not switched on at this server; `server_info` lists what is."""

    code = "UNIMPLEMENTED"


class DataLoss(RpcError):
    """What is stored does not match its checksum."""

    code = "DATA_LOSS"


class PermissionDenied(RpcError):
    """The credentials do not allow this call."""

    code = "PERMISSION_DENIED"


class Unauthenticated(RpcError):
    """There are no credentials, or they are not valid."""

    code = "UNAUTHENTICATED"


class DeadlineExceeded(RpcError):
    """No answer came within the call's timeout. What was asked for may have happened."""

    code = "DEADLINE_EXCEEDED"


BY_CODE: Mapping[str, type[RpcError]] = {each.code: each for each in RpcError.__subclasses__()}
# google.rpc.Code by number, so that a stored status needs no import of grpc.
CODES = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS"),
    *(
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
    ),
    *("INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"),
)


def code_name(number: int) -> str:
    """The name of a status code; UNKNOWN for a number that is none."""
    return CODES[number] if 0 <= number < len(CODES) else "UNKNOWN"


def rpc_error(code: str, message: str, details: Details | None = None) -> RpcError:
    """The error of the class that stands for this code."""
    return BY_CODE.get(code, RpcError)(message, code=code, details=details)


def error_of(status: status_pb2.Status) -> RpcError:
    """The error that a status stands for."""
    return rpc_error(code_name(status.code), status.message, details_of(status))


def details_of(status: status_pb2.Status) -> Details:
    """What the details of a status tell. Those of a kind that this client does not know are passed over."""
    found = _unpacked(status)
    info = found.get("google.rpc.ErrorInfo")
    retry = found.get("google.rpc.RetryInfo")
    if info is not None and info.domain != DOMAIN:
        info = None
    return Details(
        reason=info.reason if info is not None else "",
        metadata=dict(info.metadata) if info is not None else {},
        violations=_violations(found),
        retry_after=retry.retry_delay.ToNanoseconds() / 1e9 if retry is not None else None,
    )


def _unpacked(status: status_pb2.Status) -> dict[str, Any]:
    """The first detail of each kind that is known, by the name of its type."""
    from google.rpc import error_details_pb2 as known

    kinds: Sequence[type[Message]] = (
        *(known.ErrorInfo, known.RetryInfo),
        *(known.BadRequest, known.PreconditionFailure, known.QuotaFailure),
    )
    found: dict[str, Any] = {}
    for kind in kinds:
        for detail in status.details:
            if detail.Is(kind.DESCRIPTOR):
                message = kind()
                try:
                    detail.Unpack(message)
                except DecodeError:
                    continue
                found[kind.DESCRIPTOR.full_name] = message
                break
    return found


def _violations(found: Mapping[str, Any]) -> tuple[Violation, ...]:
    request, precondition, quota = (
        found.get(f"google.rpc.{kind}") for kind in ("BadRequest", "PreconditionFailure", "QuotaFailure")
    )
    return (
        *(Violation(v.field, v.description) for v in (request.field_violations if request else ())),
        *(Violation(v.subject, v.description) for v in (precondition.violations if precondition else ())),
        *(Violation(v.subject, v.description) for v in (quota.violations if quota else ())),
    )


class RunError(RuncastError):
    """A run has no result. `run` is the run as it stands, `reason` its error's, such as `TIMEOUT_RUN`."""

    def __init__(self, run: run_pb2.Run) -> None:
        self.run = run
        self.state = state_name(run.state)
        self.message = run.error.message or run.cancellation.reason or run.summary
        self.code = code_name(run.error.code)
        super().__init__(run)

    def __str__(self) -> str:
        return f"run {self.run.id} is {self.state}" + (f": {self.message}" if self.message else "")

    @property
    def reason(self) -> str:
        """Why, for a program, such as `PROVIDER_EXCEPTION` or the provider's own; empty where there is no error."""
        return self.details.reason

    @property
    def details(self) -> Details:
        """What the details of the run's error tell."""
        return details_of(self.run.error)


class RunFailed(RunError):
    """Its last attempt failed, or it could not be recovered."""


class RunCancelled(RunError):
    """It was ended on request: `run.cancellation` says whose, and what came of it."""


class RunTimedOut(RunError):
    """One of its timeouts passed: `reason` says which."""


class RunNotFinal(RunError):
    """It has not ended yet: wait for it, or come back with its id."""
