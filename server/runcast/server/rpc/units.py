"""Durations, instants and counts of the contract, within their bounds."""

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from runcast.server.model.errors import InvalidArgument

_LONGEST = 10 * 365 * 86_400 * 1_000_000


def micros(length: Duration, field: str) -> int:
    """A duration that may be 0 but not negative."""
    total = length.seconds * 1_000_000 + length.nanos // 1_000
    if not 0 <= total <= _LONGEST:
        raise InvalidArgument.of(field, f"{total / 1e6:g} s: a duration from 0 s to 10 years")
    return total


def instant(time: Timestamp, field: str) -> int:
    """An instant from 1970 on."""
    total = time.seconds * 1_000_000 + time.nanos // 1_000
    if not 0 <= total < 253_402_300_800_000_000:
        raise InvalidArgument.of(field, "a time from 1970 to 9999")
    return total


def bounded(field: str, count: int, most: int) -> None:
    """Refuse what is too many before it is looked at: work on the loop is everybody's time."""
    if count > most:
        raise InvalidArgument.of(field, f"{count:,} entries; at most {most}")
