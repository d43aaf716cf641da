"""What an attempt's process and the server say to each other: msgpack messages over a pipe each way."""

import select
import struct
from collections.abc import Iterator
from typing import Generic, TypeVar

import msgspec
from msgspec import Struct

from runcast.server.model.call import Answer, Call, Question, Raised, Returned, Stopped
from runcast.server.model.event import Report

# The largest thing that passes is a result (2 MiB) or a checkpoint (1 MiB), both refused elsewhere beyond their limits.
LONGEST = 64 * 1024 * 1024
# A piece: its length, and 0 or the number of the message that it is a part of, with a bit for "more follows".
_HEADER = struct.Struct(">HQ")
_MORE = 1 << 63
_PIECE = select.PIPE_BUF - _HEADER.size


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


class Asked(Struct, frozen=True, array_like=True, tag=103):
    """Process → server: a question whose answer is waited for under this number."""

    number: int
    question: Question


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


class Answered(Struct, frozen=True, array_like=True, tag=114):
    """Server → process: what came of the question of this number, or it was refused for `reason`."""

    number: int
    answer: Answer | None = None
    reason: str = ""
    message: str = ""


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


FromProcess = Told | Commit | Asked | Ended
ToProcess = Begin | Committed | Answered | Refused | Stop
ToForkserver = Load | Fork | Kill
FromForkserver = Ready | Forked | Gone

T = TypeVar("T")
_encoder = msgspec.msgpack.Encoder()
encode = _encoder.encode


def pieces(message: Struct, number: int) -> Iterator[bytes]:
    """A message in pieces that a pipe takes each as a whole or not at all, whoever else writes to it.

    So whoever is broken between two pieces, or writes while another does, spoils no message but perhaps its own.
    `number` tells the pieces of one message from those of others; it is at least 1.
    """
    body = encode(message)
    if len(body) <= _PIECE:
        yield _HEADER.pack(len(body), 0) + body
        return
    for start in range(0, len(body), _PIECE):
        piece = body[start : start + _PIECE]
        more = _MORE if start + _PIECE < len(body) else 0
        yield _HEADER.pack(len(piece), number % _MORE | more) + piece


class Messages(Generic[T]):
    """Puts pieces together and decodes them; raises MsgspecError or ValueError where the other side talks nonsense."""

    def __init__(self, decoder: msgspec.msgpack.Decoder[T]) -> None:
        self._decode = decoder.decode
        self._buffer = bytearray()
        self._begun: dict[int, bytearray] = {}

    def feed(self, data: bytes) -> list[T]:
        """The messages that are complete with `data`."""
        self._buffer += data
        found: list[T] = []
        start = 0
        while len(self._buffer) >= start + _HEADER.size:
            size, mark = _HEADER.unpack_from(self._buffer, start)
            begin = start + _HEADER.size
            if len(self._buffer) < begin + size:
                break
            start = begin + size
            piece = bytes(self._buffer[begin:start])
            whole = self._join(mark, piece) if mark else piece
            if whole is not None:
                found.append(self._decode(whole))
        del self._buffer[:start]
        return found

    def _join(self, mark: int, piece: bytes) -> bytes | None:
        number = mark % _MORE
        body = self._begun.setdefault(number, bytearray())
        body += piece
        if mark & _MORE:
            if sum(map(len, self._begun.values())) > LONGEST:
                raise ValueError(f"a message of more than {LONGEST} bytes")
            return None
        del self._begun[number]
        return bytes(body)


# Made once, not per attempt: a decoder of so large a union takes a millisecond to make.
_FROM_PROCESS = msgspec.msgpack.Decoder[FromProcess](FromProcess)
_TO_PROCESS = msgspec.msgpack.Decoder[ToProcess](ToProcess)
to_forkserver = msgspec.msgpack.Decoder[ToForkserver](ToForkserver).decode
from_forkserver = msgspec.msgpack.Decoder[FromForkserver](FromForkserver).decode


def from_process() -> Messages[FromProcess]:
    """What the server reads from an attempt's process."""
    return Messages(_FROM_PROCESS)


def to_process() -> Messages[ToProcess]:
    """What an attempt's process reads from the server."""
    return Messages(_TO_PROCESS)
