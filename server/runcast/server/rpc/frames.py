"""From the engine's frames to the bytes of a stream; a batch that many watch is encoded once."""

from weakref import WeakKeyDictionary

from runcast.server.engine.tail import Batch
from runcast.server.engine.watching import CaughtUp, Completed, Frame, Gap, GoingAway, Heartbeat, Snapshot
from runcast.server.model.event import Event
from runcast.server.rpc import pages
from runcast.server.rpc.messages import duration, event_message, fill_run, timestamp
from runcast.v1 import run_service_pb2, watch_pb2

_BYTES_PER_FRAME = 1 << 20
_RETRY_AFTER = 1_000_000

_encoded: "WeakKeyDictionary[Batch, list[bytes]]" = WeakKeyDictionary()


def fill_frame(message: watch_pb2.WatchFrame, sequence: int, frame: Frame, now: int) -> None:
    """Any frame but a batch, into an empty message."""
    message.resume_sequence = sequence
    if isinstance(frame, Snapshot):
        run = frame.run
        fill_run(message.snapshot.run, run)
        message.snapshot.first_sequence = run.first_sequence
        message.snapshot.last_sequence = run.last_sequence
    elif isinstance(frame, Completed):
        fill_run(message.completed.run, frame.run)
    elif isinstance(frame, CaughtUp):
        message.caught_up.SetInParent()
    elif isinstance(frame, Gap):
        message.gap.first_missing_sequence = frame.first
        message.gap.last_missing_sequence = frame.last
    elif isinstance(frame, Heartbeat):
        message.heartbeat.server_time.CopyFrom(timestamp(now))  # type: ignore[arg-type]
    elif isinstance(frame, GoingAway):
        message.going_away.reason = watch_pb2.WatchFrame.GoingAway.REASON_DRAINING
        message.going_away.retry_after.CopyFrom(duration(_RETRY_AFTER))  # type: ignore[arg-type]


def stream_age_message(sequence: int) -> watch_pb2.WatchFrame:
    """The end of a stream that has been open for long."""
    message = watch_pb2.WatchFrame(resume_sequence=sequence)
    message.going_away.reason = watch_pb2.WatchFrame.GoingAway.REASON_STREAM_AGE
    message.going_away.retry_after.SetInParent()
    return message


def batch_bytes(batch: Batch) -> list[bytes]:
    """A batch as serialised WatchRunResponses (ExecuteRunResponses read the same), one unless it is very large."""
    encoded = _encoded.get(batch)
    if encoded is None:
        encoded = _encoded[batch] = _encode(batch.events, batch.last)
    return encoded


_WATCHED, _ATTACHED = (
    bytes([response.DESCRIPTOR.fields_by_name["frame"].number << 3 | 2])
    for response in (run_service_pb2.WatchRunResponse, run_service_pb2.AttachRunResponse)
)


def attached_bytes(watched: bytes) -> bytes:
    """A serialised WatchRunResponse as an AttachRunResponse: the same frame in a field of another number."""
    return _ATTACHED + watched.removeprefix(_WATCHED)


def filtered_bytes(batch: Batch, types: frozenset[type]) -> list[bytes]:
    """The same for the events of some types only; none where the filter hides all."""
    events = tuple(event for event in batch.events if type(event.body) in types)
    return _encode(events, batch.last) if events else []


def _encode(events: tuple[Event, ...], resume_sequence: int) -> list[bytes]:
    frames: list[bytes] = []
    response, size = run_service_pb2.WatchRunResponse(), 0
    for event in events:
        message = event_message(event)
        size += message.ByteSize()
        if size > _BYTES_PER_FRAME and response.frame.batch.events:
            response.frame.resume_sequence = event.sequence - 1
            frames.append(response.SerializeToString())
            response, size = run_service_pb2.WatchRunResponse(), message.ByteSize()
        response.frame.batch.events.append(message)
    response.frame.resume_sequence = resume_sequence
    frames.append(response.SerializeToString())
    return frames


class EventPage:
    """A page of a journal while it is filled; `cursor` is where it ends so far, also over events that are hidden."""

    def __init__(self, limit: int, types: frozenset[type], cursor: int) -> None:
        self.response = run_service_pb2.ListRunEventsResponse()
        self.cursor = cursor
        self._limit = limit
        self._types = types
        self._size = 0

    def take(self, batch: Batch) -> bool:
        """Add what is asked for; False once there is no room for the next one."""
        events = self.response.events
        for event in batch.events:
            if not self._types or type(event.body) in self._types:
                message = event_message(event)
                self._size += message.ByteSize()
                if len(events) == self._limit or (events and self._size > pages.BYTES_PER_PAGE):
                    return False
                events.append(message)
            self.cursor = event.sequence
        return True
