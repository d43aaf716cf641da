"""What the one writing verb of the repository takes and answers."""

from collections.abc import Sequence
from enum import IntEnum

from msgspec import Struct, structs

from runcast.server.model.document import DocumentChange
from runcast.server.model.errors import RuncastError
from runcast.server.model.event import Event
from runcast.server.model.run import Attempt, Checkpoint, Run


class Durability(IntEnum):
    """What an acknowledged write means here; the values are those of the wire."""

    PROCESS = 1
    SYNCED = 2
    COMMIT = 3
    AS_CONFIGURED = 4


class Part(IntEnum):
    """The parts of a run that a change rewrites beside the hot row: bits, and plain numbers where there are several."""

    NONE = 0
    DEFINITION = 1
    OUTCOME = 2


class Change(Struct, frozen=True):
    """A run's next version and the events that led to it.

    `run.version` 0 creates the run; version n replaces version n - 1 and nothing else. `closed` are attempts that
    move from the run into rows of their own. Where `run.first_sequence` rose, older events may be dropped.
    """

    run: Run
    events: tuple[Event, ...] = ()
    parts: int = Part.NONE
    checkpoint: Checkpoint | None = None
    closed: tuple[Attempt, ...] = ()


class Request(Struct, frozen=True):
    """A request id as its principal sent it, and the digest of what was asked; kept at least until `expire_time`.

    `run_id` is what the request made: a run, or a document of its kind.
    """

    principal: str
    request_id: str
    digest: bytes
    run_id: str
    expire_time: int


class Group(Struct, frozen=True):
    """Changes that hold together or not at all; `request` makes a start happen once."""

    changes: tuple[Change, ...]
    request: Request | None = None
    documents: tuple[DocumentChange, ...] = ()


class Saved(Struct, frozen=True):
    """The group is durable."""


class Stale(Struct, frozen=True):
    """Nothing of the group was stored: this run or document is not at the version before; read again, decide again."""

    run_id: str


class Known(Struct, frozen=True):
    """Nothing of the group was stored: the request id was used already, for this run and a request of this digest.

    `expire_time` is that of the stored request: it tells when it came.
    """

    run_id: str
    digest: bytes
    expire_time: int


class Refused(Struct, frozen=True):
    """Nothing of the group was stored, for a reason of its own; the other groups of the call do not suffer from it."""

    error: RuncastError


Result = Saved | Stale | Known | Refused


def fold(changes: Sequence[Change]) -> Change:
    """Changes of one run, each decided on the run of the one before, as the single change that commits them all."""
    if len(changes) == 1:
        return changes[0]
    first, last = changes[0], changes[-1]
    parts = 0
    checkpoint = None
    events: list[Event] = []
    closed: list[Attempt] = []
    for change in changes:
        parts |= change.parts
        checkpoint = change.checkpoint or checkpoint
        events.extend(change.events)
        closed.extend(change.closed)
    run = structs.replace(last.run, version=first.run.version)
    return Change(run, tuple(events), parts, checkpoint, tuple(closed))
