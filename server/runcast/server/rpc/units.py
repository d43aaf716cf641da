"""Durations, instants, counts and enum values of the contract, within their bounds."""

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from runcast.server.model.errors import InvalidArgument
from runcast.v1.run_service_pb2 import WatchRunRequest, WatchRunsRequest

_NANOS = 1_000_000_000
_LONGEST = 10 * 365 * 86_400 * 1_000_000


def micros(length: Duration, field: str) -> int:
    """A duration that may be 0 but not negative."""
    total = length.seconds * 1_000_000 + length.nanos // 1_000
    if length.seconds < 0 or not 0 <= length.nanos < _NANOS or total > _LONGEST:
        raise InvalidArgument.of(field, f"{total / 1e6:g} s: a duration from 0 s to 10 years")
    return total


def instant(time: Timestamp, field: str) -> int:
    """An instant from 1970 on."""
    total = time.seconds * 1_000_000 + time.nanos // 1_000
    if not 0 <= total < 253_402_300_800_000_000 or not 0 <= time.nanos < _NANOS:
        raise InvalidArgument.of(field, "a time from 1970 to 9999")
    return total


def heartbeat_of(request: WatchRunRequest | WatchRunsRequest) -> float:
    """How often an idle stream is to be heard from, in seconds."""
    if not request.HasField("heartbeat_interval"):
        return 15.0
    seconds = micros(request.heartbeat_interval, "heartbeat_interval") / 1_000_000
    if not 5 <= seconds <= 60:
        raise InvalidArgument.of("heartbeat_interval", f"{seconds:g} s: 5 s to 60 s")
    return seconds


def known(message: Message, name: str, prefix: str = "") -> int:
    """The value of the enum field `name`; proto3 lets numbers pass that the contract does not have."""
    value: int = getattr(message, name)
    if value:
        enum = message.DESCRIPTOR.fields_by_name[name].enum_type
        if enum is not None and value not in enum.values_by_number:
            values = ", ".join(each.name for each in enum.values if each.number)
            raise InvalidArgument.of(
                f"{prefix}{name}", f"no value has the number {value}; there are {values}"
            )
    return value


def bounded(field: str, count: int, most: int) -> None:
    """Refuse what is too many before it is looked at: work on the loop is everybody's time."""
    if count > most:
        raise InvalidArgument.of(field, f"{count:,} entries; at most {most}")
