"""Bytes on disk: the header of a file, and the checksummed frames behind it.

Both files of a store begin with a header: magic, format, kind, generation, the store's id, the id of the snapshot (a
journal has that of the snapshot which it continues), a checksum, and one byte that says whether a journal belongs to
it. A frame is magic, length, running number, a checksum of these, one of all, payload. Checksums are keyed by the
snapshot's id: what another file left on the disk, or a payload quotes, is never taken for a frame of this file.
"""

import struct
from collections.abc import Iterator
from hashlib import blake2b
from typing import NamedTuple

FORMAT = 1
MAGIC = b"\x89RunC\r\n\x1a"
SNAPSHOT, JOURNAL = b"S", b"J"
ALONE, CONTINUED = b"\x0f", b"\xf0"
"""Complete without a journal, or to be read with one; no flipped bit makes one of the other."""

_HEADER = struct.Struct(">8sHcxQ16s16s")
_CHECKSUM = 16
AT_FLAG = _HEADER.size + _CHECKSUM
START = AT_FLAG + 1
"""Where the first frame is."""

_FRAME_MAGIC = b"\xf5\x00rc"
_FRAME = struct.Struct(">4sIQ")
_HEAD = _FRAME.size + 8
_OVERHEAD = _HEAD + _CHECKSUM


class Header(NamedTuple):
    """What a file says of itself."""

    kind: bytes
    generation: int
    store: bytes
    snapshot: bytes
    flag: bytes = CONTINUED


class Damaged(Exception):
    """The bytes at `offset` are not what was written; where `newer`, a newer program wrote them."""

    def __init__(self, offset: int, cause: str, *, newer: bool = False) -> None:
        super().__init__(cause)
        self.offset = offset
        self.cause = cause
        self.newer = newer


def encode_header(header: Header) -> bytes:
    """The first bytes of a file."""
    fixed = _HEADER.pack(MAGIC, FORMAT, header.kind, header.generation, header.store, header.snapshot)
    return fixed + blake2b(fixed, digest_size=_CHECKSUM).digest() + header.flag


def is_ours(start: bytes) -> bool:
    """Whether a file that begins like this may be one of a store."""
    return start[: len(MAGIC)] == MAGIC


def decode_header(data: bytes, kind: bytes) -> Header:
    """The header that a file of this kind begins with. Damaged."""
    if not is_ours(data) or len(data) < START:
        raise Damaged(0, "its header is damaged")
    fixed = data[: _HEADER.size]
    _, written, found, generation, store, snapshot = _HEADER.unpack(fixed)
    if written > FORMAT:
        raise Damaged(0, f"a newer version of this program wrote it (format {written})", newer=True)
    flag = data[AT_FLAG:START]
    sound = blake2b(fixed, digest_size=_CHECKSUM).digest() == data[_HEADER.size : AT_FLAG]
    if not sound or found != kind or flag not in (ALONE, CONTINUED):
        raise Damaged(0, "its header is damaged")
    return Header(kind, generation, store, snapshot, flag)


def frame(payload: bytes, number: int, snapshot: bytes) -> bytes:
    """The payload as the file's frame of this number."""
    head = _FRAME.pack(_FRAME_MAGIC, len(payload), number)
    head += blake2b(head, key=snapshot, digest_size=8).digest()
    return b"".join((head, _digest(head, payload, snapshot), payload))


def _digest(head: bytes | memoryview, payload: bytes | memoryview, snapshot: bytes) -> bytes:
    digest = blake2b(head, key=snapshot, digest_size=_CHECKSUM)
    digest.update(payload)
    return digest.digest()


def _head_at(data: memoryview, offset: int, snapshot: bytes) -> tuple[int, int] | None:
    """Number and end of the frame whose head is sound at `offset`, or None."""
    if offset + _OVERHEAD > len(data):
        return None
    fixed = data[offset : offset + _FRAME.size]
    magic, length, number = _FRAME.unpack(fixed)
    if magic != _FRAME_MAGIC:
        return None
    if blake2b(fixed, key=snapshot, digest_size=8).digest() != data[offset + _FRAME.size : offset + _HEAD]:
        return None
    return number, offset + _OVERHEAD + length


def frames(data: bytes, snapshot: bytes) -> Iterator[tuple[int, memoryview]]:
    """The payloads of a file in their order, each with the offset behind it, up to the first that is not sound.

    Damaged where that cannot be the one frame that a crash cut short: something is behind it, or behind its place the
    head of another frame; or where a frame has another number than its place.
    """
    view = memoryview(data)
    offset, expected = START, 0
    while (head := _head_at(view, offset, snapshot)) is not None:
        number, end = head
        if number != expected:
            raise Damaged(offset, f"record {expected} is missing")
        payload = view[offset + _OVERHEAD : end]
        digest = view[offset + _HEAD : offset + _OVERHEAD]
        if end > len(data) or _digest(view[offset : offset + _HEAD], payload, snapshot) != digest:
            if end < len(data):
                raise Damaged(offset, f"record {expected} is damaged, and there are more behind it")
            return
        offset, expected = end, expected + 1
        yield offset, payload
    behind = data.find(_FRAME_MAGIC, offset + 1)
    while behind >= 0:
        if _head_at(view, behind, snapshot) is not None:
            raise Damaged(offset, f"record {expected} is damaged, and there are more behind it")
        behind = data.find(_FRAME_MAGIC, behind + 1)
