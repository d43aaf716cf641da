"""The sizes beyond which Runcast refuses, in bytes; GetServerInfo tells them."""

from msgspec.structs import replace

from runcast.server.model.call import End, Raised, Returned
from runcast.server.model.errors import InvalidArgument
from runcast.server.model.event import LogLine, OutputChunk, PartialResult, Report, SaveCheckpoint
from runcast.server.model.run import Error

PARAMETERS = 256 * 1024
RESULT = 2 * 1024 * 1024
EVENT = 64 * 1024
CHECKPOINT = 1024 * 1024
_CUT = " … (cut: longer than 64 KiB)"
_INVALID_ARGUMENT = 3


def checked_report(report: Report) -> Report:
    """The report as it may be stored: long log lines cut and marked; other reports beyond their limit are refused."""
    if isinstance(report, LogLine):
        return _cut(report) if len(report.message) > EVENT // 4 else report
    if isinstance(report, SaveCheckpoint):
        _refuse(
            "checkpoint", len(report.data), CHECKPOINT, "save what is needed to go on, not the result itself"
        )
    elif isinstance(report, PartialResult):
        _refuse("partial result", len(report.payload.json or "") * 4, EVENT * 4, "report smaller pieces")
    elif isinstance(report, OutputChunk):
        _refuse("output chunk", len(report.data), EVENT, "report smaller chunks")
    return report


def checked_end(end: End) -> End:
    """The end as it may be stored: a result beyond the limit is a failure that says so."""
    if isinstance(end, Returned) and len(end.output) > RESULT // 4:
        size = len(end.output.encode())
        if size > RESULT:
            message = (
                f"the result has {size:,} bytes, {RESULT:,} are allowed; return less, or a summary of it"
            )
            return Raised(Error(_INVALID_ARGUMENT, "RESULT_TOO_LARGE", message, {"retryable": "false"}))
    return end


def _cut(line: LogLine) -> LogLine:
    raw = line.message.encode(errors="replace")
    room = EVENT - len(_CUT.encode()) - 1_024
    return line if len(raw) <= room else replace(line, message=raw[:room].decode(errors="ignore") + _CUT)


def _refuse(what: str, size: int, limit: int, remedy: str) -> None:
    if size > limit:
        field = what.replace(" ", "_")
        raise InvalidArgument.of(field, f"a {what} of {size:,} bytes; {limit:,} are allowed: {remedy}")
