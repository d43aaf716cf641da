"""The sizes beyond which Runcast refuses, in bytes; GetServerInfo tells them."""

import msgspec
from msgspec.structs import replace

from runcast.server.model.call import End, Raised, Returned
from runcast.server.model.errors import InvalidArgument
from runcast.server.model.event import LogLine, OutputChunk, Report, SaveCheckpoint
from runcast.server.model.run import Error

PARAMETERS = 256 * 1024
RESULT = 2 * 1024 * 1024
EVENT = 64 * 1024
CHECKPOINT = 1024 * 1024
_MESSAGE = 16 * 1024
_AROUND = 8 * 1024  # names and codes beside a text that is as long as may be
_CUT = " … (cut: too long)"
_INVALID_ARGUMENT = 3
_REMEDIES = {
    SaveCheckpoint: "save what is needed to go on, not the result itself",
    OutputChunk: "report smaller chunks",
}


def checked_report(report: Report) -> Report:
    """The report as it may be stored: log lines are made to fit; any other one beyond its limit is refused, and so is
    what cannot be encoded."""
    if isinstance(report, LogLine):
        message = report.message
        plain = len(message) <= EVENT // 4 and message.isascii() and not report.attributes
        return report if plain else _fitting(report)
    if isinstance(report, SaveCheckpoint):
        _refuse(report, len(report.data), CHECKPOINT)
    elif isinstance(report, OutputChunk):
        _refuse(report, len(report.data), EVENT)
    else:
        _refuse(report, len(msgspec.msgpack.encode(report)), EVENT + _AROUND)
    return report


def checked_end(end: End) -> End:
    """The end as it may be stored: a result beyond the limit is a failure that says so."""
    if isinstance(end, Returned):
        return _checked_result(end) if len(end.output) > RESULT // 4 or not end.output.isascii() else end
    if isinstance(end, Raised):
        error = replace(end.error, message=_text(end.error.message, _MESSAGE))
        return Raised(error, _text(end.traceback, EVENT), end.while_stopping)
    return end


def _checked_result(end: Returned) -> End:
    try:
        size = len(end.output.encode())
    except UnicodeEncodeError as error:
        return _refused_result(f"the result cannot be encoded: {error.reason}")
    if size > RESULT:
        return _refused_result(
            f"the result has {size:,} bytes, {RESULT:,} are allowed; return less, or a summary of it"
        )
    return end


def _refused_result(message: str) -> Raised:
    return Raised(Error(_INVALID_ARGUMENT, "RESULT_TOO_LARGE", message, {"retryable": "false"}))


def _fitting(line: LogLine) -> LogLine:
    attributes = {_text(key, 256): _text(value, 2_048) for key, value in line.attributes.items()}
    around = sum(len(key.encode()) + len(value.encode()) for key, value in attributes.items())
    if around > EVENT // 2:
        attributes, around = {"cut": "the attributes were too long"}, 32
    message = _text(line.message, EVENT - around - 1_024)
    return replace(line, message=message, attributes=attributes)


def _text(text: str, limit: int) -> str:
    """`text` as it can be encoded, in at most `limit` bytes."""
    if len(text) <= limit and text.isascii():
        return text
    data = text.encode(errors="backslashreplace")
    if len(data) <= limit:
        return data.decode()
    return data[: limit - len(_CUT.encode())].decode(errors="ignore") + _CUT


def _refuse(report: Report, size: int, limit: int) -> None:
    if size > limit:
        remedy = _REMEDIES.get(type(report), "say it in less, or in several")
        kind = type(report).__name__
        raise InvalidArgument.of("report", f"a {kind} of {size:,} bytes; {limit:,} are allowed: {remedy}")
