"""What an attempt's process and the server say to each other: length-prefixed msgpack frames over a socket pair."""

from collections.abc import Iterator
from typing import Generic, TypeVar

import msgspec
from msgspec import DecodeError, Struct

from runcast.server.model.call import Call, Raised, Returned, Stopped
from runcast.server.model.event import Report

# The largest thing that passes is a result (2 MiB) or a checkpoint (1 MiB), both refused elsewhere beyond their limits.
LONGEST = 64 * 1024 * 1024
_PREFIX = 4


class Told(Struct, frozen=True, array_like=True, tag=100):
    """Process → server: a report."""

    report: Report


class Commit(Struct, frozen=True, array_like=True, tag=101):
    """Process → server: a report whose durability is waited for under this number."""

    number: int
    report: Report


class Ended(Struct, frozen=True, array_like=True, tag=102):
    """Process → server: how the code ended; nothing follows."""

    end: Returned | Raised | Stopped


class Begin(Struct, frozen=True, array_like=True, tag=110):
    """Server → process: the call, once, first."""

    call: Call


class Committed(Struct, frozen=True, array_like=True, tag=111):
    """Server → process: the commit of this number is durable, or was refused for `reason`."""

    number: int
    reason: str = ""
    message: str = ""


class Refused(Struct, frozen=True, array_like=True, tag=112):
    """Server → process: the attempt is not current any more, nothing that it tells is taken."""

    message: str


class Stop(Struct, frozen=True, array_like=True, tag=113):
    """Server → process: the code is to end; `urgent` breaks what the main thread is doing."""

    urgent: bool = False


class Load(Struct, frozen=True, array_like=True, tag=119):
    """Server → forkserver, once, first: the import path, and what gives the function that runs attempts.

    `loader` is "module:function"; it is called with `providers`.
    """

    path: list[str]
    loader: str
    providers: list[str]


class Fork(Struct, frozen=True, array_like=True, tag=120):
    """Server → forkserver, with the descriptors of an attempt: start a process for it."""

    attempt: int


class Kill(Struct, frozen=True, array_like=True, tag=121):
    """Server → forkserver: kill the attempt's process with all that it started."""

    attempt: int


class Ready(Struct, frozen=True, array_like=True, tag=130):
    """Forkserver → server: the providers are loaded, or why they are not."""

    error: str = ""


class Forked(Struct, frozen=True, array_like=True, tag=131):
    """Forkserver → server: the attempt's process."""

    attempt: int
    pid: int


class Gone(Struct, frozen=True, array_like=True, tag=132):
    """Forkserver → server: the attempt's process and all it started are gone; `status` as from wait, or why none began."""

    attempt: int
    status: int
    error: str = ""


FromProcess = Told | Commit | Ended
ToProcess = Begin | Committed | Refused | Stop
ToForkserver = Load | Fork | Kill
FromForkserver = Ready | Forked | Gone

T = TypeVar("T")
_encoder = msgspec.msgpack.Encoder()
encode = _encoder.encode


def frame(message: Struct) -> bytes:
    """A message as it goes over a stream."""
    body = encode(message)
    return len(body).to_bytes(_PREFIX) + body


class Frames(Generic[T]):
    """Cuts a stream into frames and decodes them; DecodeError where the other side talks nonsense."""

    def __init__(self, decoder: msgspec.msgpack.Decoder[T]) -> None:
        self._decode = decoder.decode
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[T]:
        """The messages that are complete with `data`; to be exhausted before the next call."""
        self._buffer += data
        start = 0
        try:
            while len(self._buffer) >= start + _PREFIX:
                begin = start + _PREFIX
                size = int.from_bytes(self._buffer[start:begin])
                if size > LONGEST:
                    raise DecodeError(f"a frame of {size} bytes")
                if len(self._buffer) < begin + size:
                    break
                start = begin + size
                yield self._decode(bytes(self._buffer[begin:start]))
        finally:
            del self._buffer[:start]


# Made once, not per attempt: a decoder of so large a union takes a millisecond to make.
_FROM_PROCESS = msgspec.msgpack.Decoder[FromProcess](FromProcess)
_TO_PROCESS = msgspec.msgpack.Decoder[ToProcess](ToProcess)
to_forkserver = msgspec.msgpack.Decoder[ToForkserver](ToForkserver).decode
from_forkserver = msgspec.msgpack.Decoder[FromForkserver](FromForkserver).decode


def from_process() -> Frames[FromProcess]:
    """What the server reads from an attempt's process."""
    return Frames(_FROM_PROCESS)


def to_process() -> Frames[ToProcess]:
    """What an attempt's process reads from the server."""
    return Frames(_TO_PROCESS)
