"""Page sizes and page tokens: opaque, bound to their list, and safe against inserts."""

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from google.protobuf.message import Message

from runcast.server.model.errors import InvalidArgument

M = TypeVar("M", bound=Message)

DEFAULT_SIZE = 50
LARGEST_SIZE = 1_000
BYTES_PER_PAGE = 3 << 20
_WIDEST = 1 << 63


def size_of(page_size: int) -> int:
    """How many entries a page may have."""
    if page_size < 0:
        raise InvalidArgument.of(
            "page_size", f"{page_size}: 0 for the default of {DEFAULT_SIZE}, or 1 to {LARGEST_SIZE}"
        )
    return min(page_size or DEFAULT_SIZE, LARGEST_SIZE)


def fitting(messages: Iterable[M]) -> Iterator[M]:
    """As many of the messages as fit on one page by their bytes, at least one."""
    total = 0
    for message in messages:
        size = message.ByteSize()
        if total and total + size > BYTES_PER_PAGE:
            return
        total += size
        yield message


def token_for(request: Message, *position: Any) -> str:
    """The token of the page behind `position`, for this list only: its kind, filter and order."""
    return base64.urlsafe_b64encode(json.dumps([_list_of(request), *position]).encode()).decode().rstrip("=")


def position_of(request: Message, token: str, *kinds: type) -> tuple[Any, ...] | None:
    """Where the page begins, None for the first one. InvalidArgument for a token of another list, or none at all."""
    if not token:
        return None
    try:
        padded = token + "=" * (-len(token) % 4)
        owner, *position = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, TypeError, RecursionError):
        raise _foreign() from None
    right = len(position) == len(kinds) and all(
        type(p) is kind for p, kind in zip(position, kinds, strict=True)
    )
    # A number or a text that no store holds would be an error in there.
    right = right and all(abs(p) < _WIDEST if type(p) is int else _is_text(p) for p in position)
    if owner != _list_of(request) or not right:
        raise _foreign()
    return tuple(position)


def _is_text(part: Any) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in part)


def _foreign() -> InvalidArgument:
    expected = "not a token of this list: send `next_page_token` back with the same filter and order, or none"
    return InvalidArgument.of("page_token", expected)


def _list_of(request: Message) -> str:
    bare = type(request)()
    bare.CopyFrom(request)
    for field in ("page_token", "page_size", "view", "after_sequence"):
        if field in bare.DESCRIPTOR.fields_by_name:
            bare.ClearField(field)
    raw = bare.DESCRIPTOR.full_name.encode() + bare.SerializeToString(deterministic=True)
    return hashlib.blake2b(raw, digest_size=8).hexdigest()
