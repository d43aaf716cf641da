"""What a provider returns, as JSON text: strict JSON, or an error that says why not."""

import logging
from collections.abc import Callable
from typing import Any

import msgspec
from pydantic import TypeAdapter
from pydantic.errors import PydanticUserError
from pydantic_core import PydanticSerializationError, from_json, to_json

from runcast.provider.errors import INVALID_ARGUMENT, ProviderError

_log = logging.getLogger(__name__)
LARGEST = 2 * 1024 * 1024
_Dump = Callable[[Any], Any]


def json_text(value: object, what: str = "the result", largest: int = LARGEST) -> str:
    """Plain data, pydantic and msgspec types, dataclasses, dates, paths and the like as JSON text."""
    if value is None:
        return "null"
    try:
        data = to_json(value, fallback=msgspec.to_builtins, inf_nan_mode="constants")
    except (TypeError, ValueError, RecursionError) as error:
        raise _invalid(what, value, str(error)) from error
    if (b"NaN" in data or b"Infinity" in data) and not _strict(data):
        raise _invalid(what, value, "it holds a number that JSON does not have (NaN or infinity)")
    if len(data) > largest:
        message = f"{what} may have {largest:,} bytes of JSON, and this one has {len(data):,}: return less, or where it is"
        raise ProviderError(message, reason="RESULT_TOO_LARGE", retryable=False)
    return data.decode()


class Result:
    """How the results of one provider become JSON: `schema` is JSON Schema 2020-12, or None where nothing is annotated."""

    def __init__(self, annotation: Any, annotated: bool) -> None:
        self.schema: dict[str, Any] | None = None
        self._dump: _Dump | None = None
        if annotated and annotation is not Any:
            self._read(annotation)

    def text(self, value: object) -> str:
        """By the annotation, or by what the value is where it is of another type; ProviderError where neither works."""
        if self._dump is not None and value is not None:
            try:
                value = self._dump(value)
            except PydanticSerializationError as error:
                text = json_text(value)
                _log.warning("the result is not of the type that is annotated: %s", error)
                return text
            except Exception as error:  # a serializer of the author's own may raise anything
                raise _invalid("the result", value, f"{type(error).__name__}: {error}") from error
        return json_text(value)

    def _read(self, annotation: Any) -> None:
        """By pydantic, or where the type holds one that it does not know, by msgspec."""
        try:
            adapter: TypeAdapter[Any] = TypeAdapter(annotation)
            self.schema = adapter.json_schema(mode="serialization")
        except PydanticUserError as error:
            try:
                self.schema = msgspec.json.schema(annotation)
            except (TypeError, RuntimeError):
                raise TypeError(str(error).splitlines()[0]) from error
            self._dump = msgspec.to_builtins
            return
        dump = adapter.serializer.to_python
        self._dump = lambda value: dump(value, mode="json", by_alias=True, warnings="error")


def _strict(data: bytes) -> bool:
    try:
        from_json(data, allow_inf_nan=False)
    except ValueError:
        return False
    return True


def _invalid(what: str, value: object, why: str) -> ProviderError:
    kind = type(value).__name__
    message = f"{what}, a {kind}, cannot be turned into JSON: {why}"
    return ProviderError(message, reason="RESULT_INVALID", code=INVALID_ARGUMENT, retryable=False)
