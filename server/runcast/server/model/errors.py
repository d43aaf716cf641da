"""Every error that may reach a caller, as one tree.

RuncastError
├── InvalidArgument        a field of the request is wrong; carries one Violation for each
├── NotFound               no such run, provider, task …
├── AlreadyExists          the id is taken, or the request id was used for another request
├── FailedPrecondition     the resource's state forbids it
│   └── WrongState         … a run's state does
├── Aborted                somebody else changed it first: read again
├── ResourceExhausted      a limit; retry later
├── Unavailable            draining, or the store is away; retry later
├── OutOfRange             a cursor outside of the journal
├── FeatureOff             declared in the contract, not served here
├── DataLoss               stored bytes do not match their checksum
├── StorageError           the store cannot be opened or used; says what to do about it
└── Fenced                 an attempt that is not current any more tried to write

The rpc layer maps each class to one status; no other layer knows of statuses.
"""

from collections.abc import Sequence
from typing import NamedTuple


class Violation(NamedTuple):
    """One wrong field: its path in the request (`input.seconds`), and what was expected of it."""

    field: str
    description: str


class RuncastError(Exception):
    """The root; `reason` is UPPER_SNAKE_CASE and stable, the message is for a person and names the remedy."""

    reason = "INTERNAL"

    def __init__(self, message: str, *, reason: str | None = None, **metadata: str) -> None:
        super().__init__(message)
        self.message = message
        self.metadata = metadata
        if reason is not None:
            self.reason = reason


class InvalidArgument(RuncastError):
    """The request is wrong whatever the server's state; `violations` has a line for each field."""

    reason = "INVALID_ARGUMENT"

    def __init__(self, violations: Sequence[Violation], *, reason: str | None = None) -> None:
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in violations), reason=reason)
        self.violations = tuple(violations)

    @classmethod
    def of(cls, field: str, description: str, *, reason: str | None = None) -> "InvalidArgument":
        """The common case: one field."""
        return cls([Violation(field, description)], reason=reason)


class NotFound(RuncastError):
    """No resource of that name: `kind` is `run`, `provider`, … and `name` what was asked for."""

    def __init__(self, kind: str, name: str, remedy: str = "") -> None:
        super().__init__(f"no {kind} {name!r}" + (f"; {remedy}" if remedy else ""))
        self.reason = f"{kind.upper()}_NOT_FOUND"
        self.kind = kind
        self.name = name


class AlreadyExists(RuncastError):
    """The name is taken; reason REQUEST_ID_REUSED or RUN_ID_TAKEN."""

    def __init__(self, kind: str, name: str, message: str, *, reason: str) -> None:
        super().__init__(message, reason=reason)
        self.kind = kind
        self.name = name


class FailedPrecondition(RuncastError):
    """The resource's state forbids the call; `kind` is the precondition's type, `subject` the resource."""

    reason = "FAILED_PRECONDITION"
    kind = "PRECONDITION"

    def __init__(self, subject: str, message: str, *, reason: str | None = None, **metadata: str) -> None:
        super().__init__(message, reason=reason, **metadata)
        self.subject = subject


class WrongState(FailedPrecondition):
    """The run's state does not allow what was asked."""

    reason = "RUN_STATE"
    kind = "RUN_STATE"

    def __init__(self, run_id: str, state: str, verb: str) -> None:
        super().__init__(run_id, f"run {run_id} is {state}; it cannot {verb}", state=state)


class Aborted(RuncastError):
    """A concurrent change won; read the resource and decide again."""

    reason = "CONFLICT"


class ResourceExhausted(RuncastError):
    """A limit is reached; `retry_after` in microseconds."""

    reason = "LIMIT_REACHED"

    def __init__(self, subject: str, message: str, *, retry_after: int, reason: str | None = None) -> None:
        super().__init__(message, reason=reason)
        self.subject = subject
        self.retry_after = retry_after


class Unavailable(RuncastError):
    """The server cannot take this now; `retry_after` in microseconds."""

    reason = "STORAGE_UNAVAILABLE"

    def __init__(self, message: str, *, retry_after: int = 1_000_000, reason: str | None = None) -> None:
        super().__init__(message, reason=reason)
        self.retry_after = retry_after


class OutOfRange(RuncastError):
    """A cursor outside of the journal; reason SEQUENCE_AHEAD or EVENTS_COMPACTED."""

    reason = "OUT_OF_RANGE"


class FeatureOff(RuncastError):
    """Part of the contract, but not served by this server; GetServerInfo lists what is."""

    reason = "FEATURE_OFF"


class DataLoss(RuncastError):
    """Stored bytes are damaged; nothing was changed."""

    reason = "CHECKSUM_MISMATCH"


class StorageError(RuncastError):
    """The store cannot be opened or used; the message names the store, the cause and the remedy."""

    reason = "STORAGE"


class Fenced(RuncastError):
    """An attempt that is no longer the run's current one tried to write: its code is to be stopped."""

    reason = "FENCED"
