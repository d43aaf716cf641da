"""How the server logs: JSON lines, or colours on a terminal; always to standard error."""

import logging
import sys

import structlog


def set_up_logs(level: str) -> None:
    """Everything that goes through `logging` from now on."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts")],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                *_rendering(sys.stderr.isatty()),
            ],
        )
    )
    logging.getLogger("grpc._cython.cygrpc").addFilter(_is_no_disconnect)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)


def _is_no_disconnect(record: logging.LogRecord) -> bool:
    """GRPC logs a client that went away in the midst of a write as an error: it is none."""
    error = record.exc_info[1] if record.exc_info else None
    return type(error).__name__ != "ExecuteBatchError"


def _rendering(terminal: bool) -> list[structlog.typing.Processor]:
    if terminal:
        return [
            structlog.dev.ConsoleRenderer(
                timestamp_key="ts", exception_formatter=structlog.dev.plain_traceback
            )
        ]
    return [structlog.processors.EventRenamer("msg"), structlog.processors.JSONRenderer()]
