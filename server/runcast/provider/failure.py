"""Why an attempt failed, made from the exception that ended it."""

import asyncio
import traceback
from pathlib import Path
from types import TracebackType

from runcast.provider.errors import INVALID_ARGUMENT, UNKNOWN, Cancelled, ProviderError
from runcast.provider.text import clean, text_of
from runcast.server.model.call import End, Raised, Stopped
from runcast.server.model.errors import InvalidArgument
from runcast.server.model.run import Error

_OURS = str(Path(__file__).parent)
_MESSAGE = 4_000
_TRACEBACK = 16 * 1024
_HEAD = 4 * 1024


def failed(error: BaseException) -> End:
    """Raised, with reason and words of the author's own where it is a ProviderError; Stopped if Cancelled is in a group."""
    if isinstance(error, BaseExceptionGroup) and error.subgroup(Cancelled) is not None:
        return Stopped()
    return Raised(_error(error), _traceback(error), _while_stopping(error))


def _while_stopping(error: BaseException) -> bool:
    """Whether a cancellation was on its way through the code when this was raised."""
    waiting, seen = [error], set[int]()
    while waiting:
        one = waiting.pop()
        if isinstance(one, asyncio.CancelledError | Cancelled):
            return True
        if id(one) not in seen:
            seen.add(id(one))
            waiting += [each for each in (one.__cause__, one.__context__) if each is not None]
            waiting += one.exceptions if isinstance(one, BaseExceptionGroup) else ()
    return False


def _error(error: BaseException) -> Error:
    if isinstance(error, ProviderError):
        metadata = {name: clean(value, 512) for name, value in error.metadata.items()}
        if not error.retryable:
            metadata["retryable"] = "false"
        return Error(error.code, error.reason, clean(error.message, _MESSAGE), metadata)
    kind = type(error).__name__
    if isinstance(error, InvalidArgument):
        return Error(INVALID_ARGUMENT, error.reason, clean(error.message, _MESSAGE))
    text = text_of(error)
    message = f"{kind}: {text}" if text else kind
    return Error(
        UNKNOWN, "PROVIDER_EXCEPTION", clean(message, _MESSAGE), {"exception": _qualified(type(error))}
    )


def _qualified(kind: type) -> str:
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _traceback(error: BaseException) -> str:
    """Head and tail of at most 16 KiB, from the provider's own frame on."""
    try:
        lines = traceback.format_exception(error.with_traceback(_theirs(error.__traceback__)))
    except Exception as broken:  # noqa: BLE001 - an exception that cannot be shown must still end its run
        return f"{type(error).__name__} (its traceback cannot be shown: {type(broken).__name__})\n"
    text = clean("".join(lines), 2**62)
    if len(text) <= _TRACEBACK // 4 or len(text.encode()) <= _TRACEBACK:
        return text
    head = _first(text, _HEAD)
    data = text.encode()
    tail = data[-(_TRACEBACK - _HEAD - 64) :].decode(errors="ignore")
    left_out = len(data) - len(head.encode()) - len(tail.encode())
    return f"{head}\n… {left_out:,} bytes left out …\n{tail}"


def _first(text: str, limit: int) -> str:
    return text.encode()[:limit].decode(errors="ignore")


def _theirs(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_OURS):
        trace = trace.tb_next
    return trace
