"""The entries of a run's journal, and what executing code may report into it."""

from enum import IntEnum

from msgspec import Struct, field

from runcast.server.model.run import (
    AttemptState,
    EntityRef,
    Error,
    Failure,
    Initiator,
    Payload,
    Progress,
    State,
)


class Severity(IntEnum):
    """How grave a log line is."""

    DEBUG = 1
    INFO = 2
    WARNING = 3
    ERROR = 4
    CRITICAL = 5


class StateChanged(Struct, frozen=True, array_like=True, tag=1, tag_field="event"):
    """The run went from one state to another; `from_state` is None for a new run."""

    from_state: State | None
    to_state: State
    reason: str = ""
    next_attempt_time: int | None = None


class AttemptStarted(Struct, frozen=True, array_like=True, tag=2, tag_field="event"):
    """An attempt began; its number stands on the event."""

    owner: str
    from_checkpoint: bool = False


class AttemptFinished(Struct, frozen=True, array_like=True, tag=3, tag_field="event"):
    """An attempt ended."""

    state: AttemptState
    error: Error | None = None


class LogLine(Struct, frozen=True, array_like=True, tag=5, tag_field="event"):
    """One line that the provider logged or printed."""

    severity: Severity
    message: str
    logger: str = ""
    attributes: dict[str, str] = field(default_factory=dict)


class OutputChunk(Struct, frozen=True, array_like=True, tag=6, tag_field="event"):
    """Raw output of a command; `offset` counts the channel's bytes before this chunk."""

    channel: str
    offset: int
    data: bytes


class CheckpointSaved(Struct, frozen=True, array_like=True, tag=7, tag_field="event"):
    """A checkpoint was committed."""

    number: int
    size_bytes: int
    schema_version: int = 0


class ArtifactAdded(Struct, frozen=True, array_like=True, tag=8, tag_field="event"):
    """A complete artifact now belongs to the run."""

    artifact: str
    name: str
    content_type: str
    size_bytes: int


class CancelRequested(Struct, frozen=True, array_like=True, tag=11, tag_field="event"):
    """Somebody asked the run to end, or asked again more urgently."""

    initiator: Initiator
    reason: str = ""
    immediate: bool = False


class CancelAcknowledged(Struct, frozen=True, array_like=True, tag=12, tag_field="event"):
    """The provider's code stopped because it was asked to."""


class ChildLinked(Struct, frozen=True, array_like=True, tag=13, tag_field="event"):
    """The run started a child."""

    child_run: str


class PartialResult(Struct, frozen=True, array_like=True, tag=14, tag_field="event"):
    """A piece of the result, before the end."""

    payload: Payload


Body = (
    StateChanged
    | AttemptStarted
    | AttemptFinished
    | Progress
    | LogLine
    | OutputChunk
    | CheckpointSaved
    | ArtifactAdded
    | Failure
    | EntityRef
    | CancelRequested
    | CancelAcknowledged
    | ChildLinked
    | PartialResult
)


class Event(Struct, frozen=True, array_like=True):
    """One numbered entry of a run's journal; sequences are dense from 1, across attempts."""

    sequence: int
    time: int
    attempt: int
    body: Body


class SaveCheckpoint(Struct, frozen=True, array_like=True, tag=20, tag_field="event"):
    """A report: keep these bytes, so that a later attempt goes on from here."""

    data: bytes
    schema_version: int = 0


class Summary(Struct, frozen=True, array_like=True, tag=21, tag_field="event"):
    """A report: the run's outcome in a few words of its own; the last one counts."""

    text: str


Report = (
    Progress
    | LogLine
    | OutputChunk
    | ArtifactAdded
    | Failure
    | EntityRef
    | PartialResult
    | SaveCheckpoint
    | Summary
)
"""What executing code may tell; all but Summary becomes one event each, after progress was coalesced."""
