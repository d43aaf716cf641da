"""What a provider saves, as bytes and back: bytes stay as they are, all else becomes MessagePack or, for huge integers, JSON."""

from typing import Any, TypeVar

import msgspec
from pydantic import BaseModel, TypeAdapter
from pydantic_core import from_json, to_json, to_jsonable_python

from runcast.provider.errors import CheckpointIncompatible, ProviderError

T = TypeVar("T")
LARGEST = 1024 * 1024
_RAW, _MSGPACK, _JSON = b"\x00", b"\x01", b"\x02"


def encode(state: object) -> bytes:
    """The bytes to store; ProviderError where the state cannot be stored or is larger than 1 MiB."""
    try:
        data = _encode(state)
    except (TypeError, ValueError, RecursionError) as error:
        message = f"a {type(state).__name__} cannot be saved as a checkpoint: {error}"
        raise ProviderError(message, reason="CHECKPOINT_INVALID", retryable=False) from error
    if len(data) > LARGEST:
        message = f"a checkpoint may hold {LARGEST:,} bytes, and this one has {len(data):,}: save where to go on, not all that was done"
        raise ProviderError(message, reason="CHECKPOINT_TOO_LARGE", retryable=False)
    return data


def decode(data: bytes) -> Any:
    """What was saved, as plain data or bytes."""
    kind, body = data[:1], data[1:]
    try:
        if kind == _RAW:
            return body
        if kind == _MSGPACK:
            return msgspec.msgpack.decode(body, strict=False)
        if kind == _JSON:
            return from_json(body)
    except ValueError as error:
        raise CheckpointIncompatible(f"the last checkpoint cannot be read: {error}") from error
    raise CheckpointIncompatible("the last checkpoint cannot be read: no provider of Runcast wrote it")


def decode_as(data: bytes, kind: type[T]) -> T:
    """What was saved, as `kind`: a msgspec or pydantic type, a dataclass, or anything else that pydantic validates."""
    plain = decode(data)
    try:
        return _convert(plain, kind)
    except (ValueError, TypeError) as error:
        name = getattr(kind, "__name__", str(kind))
        raise CheckpointIncompatible(f"the last checkpoint cannot be read as {name}: {error}") from error


def _encode(state: object) -> bytes:
    if isinstance(state, bytes | bytearray | memoryview):
        return _RAW + bytes(state)
    try:
        return _MSGPACK + msgspec.msgpack.encode(state, enc_hook=_plain)
    except OverflowError:  # MessagePack ends at 64 bits
        return _JSON + to_json(state, fallback=msgspec.to_builtins, bytes_mode="base64")


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump()
    return to_jsonable_python(value)


def _convert(plain: object, kind: type[T]) -> T:
    try:
        return msgspec.convert(plain, kind, dec_hook=_validated)
    except TypeError:  # msgspec cannot tell such a type apart from others in its union: pydantic can
        return TypeAdapter(kind).validate_python(plain)


def _validated(kind: type, plain: object) -> object:
    return TypeAdapter[object](kind).validate_python(plain)
