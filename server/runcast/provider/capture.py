"""Makes what a provider prints and logs lines of its run; installed once in each process that runs providers."""

import io
import logging
import sys
from collections.abc import Iterable
from typing import Any, TextIO

from runcast.provider.log import severity_of, with_traceback
from runcast.provider.reporter import Reporter, current
from runcast.provider.text import text_of
from runcast.server.model.event import Severity

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class _State:
    """What is installed in this process, and whose attempt it is where it runs only one."""

    handler: "_RunHandler | None" = None
    filters: tuple[tuple[logging.Handler, "_Outside"], ...] = ()
    level = logging.WARNING
    whole_process = False
    whole: Reporter | None = None


def install(*, whole_process: bool = False, level: int = logging.INFO) -> None:
    """Capture what providers write to sys.stdout (as INFO) and sys.stderr (as WARNING), and log from `level` on.

    What nobody's provider writes passes through as before. Whose it is, context variables tell: coroutines and
    `asyncio.to_thread` hand them on, threads that a provider starts itself do not. In a process that runs one attempt
    (`whole_process`) all that is written is the attempt's. Install after logging is configured; twice does no harm.
    """
    _State.whole_process = whole_process
    if not isinstance(sys.stdout, _Stream):
        sys.stdout = _Stream(sys.stdout, "stdout", Severity.INFO)
    if not isinstance(sys.stderr, _Stream):
        sys.stderr = _Stream(sys.stderr, "stderr", Severity.WARNING)
    root = logging.getLogger()
    if _State.handler is None:
        _State.handler, _State.level = _RunHandler(), root.level
        _State.filters = tuple((handler, _Outside(root.level)) for handler in root.handlers)
        for handler, outside in _State.filters:
            handler.addFilter(outside)
        root.addHandler(_State.handler)
        root.setLevel(min(root.level, level))


def uninstall() -> None:
    """Put back what `install` replaced."""
    if isinstance(sys.stdout, _Stream):
        sys.stdout = sys.stdout.original
    if isinstance(sys.stderr, _Stream):
        sys.stderr = sys.stderr.original
    if _State.handler is not None:
        for handler, outside in _State.filters:
            handler.removeFilter(outside)
        logging.getLogger().removeHandler(_State.handler)
        logging.getLogger().setLevel(_State.level)
        _State.handler, _State.filters = None, ()
    _State.whole_process, _State.whole = False, None


def own(reporter: Reporter | None) -> None:
    """From now on, what is written in this process is this attempt's, if it was installed for that."""
    if _State.whole_process:
        _State.whole = reporter


def _here() -> Reporter | None:
    """Whose output this is, if its attempt is not over."""
    reporter = current.get(_State.whole)
    return None if reporter is None or reporter.over else reporter


class _Stream(io.TextIOBase):
    """In the place of sys.stdout or sys.stderr."""

    def __init__(self, original: TextIO, name: str, severity: Severity) -> None:
        self.original = original
        self._name = name
        self._severity = severity

    def write(self, text: str) -> int:
        reporter = _here()
        if reporter is None:
            return self.original.write(text)
        if not isinstance(text, str):
            raise TypeError(f"write() takes text, not {type(text).__name__}")
        reporter.lines(self._name, self._severity).write(text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:  # type: ignore[override]
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        if _here() is None:
            self.original.flush()

    def isatty(self) -> bool:
        return _here() is None and self.original.isatty()

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.original.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.original.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self.original.errors

    def close(self) -> None:
        """Not by a provider: the stream is the process's."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.original, name)


class _RunHandler(logging.Handler):
    """Takes the records of providers; others it leaves to the handlers that were there, or would have been."""

    def createLock(self) -> None:  # noqa: N802 - logging's name
        """No lock: a thread that waits in `report` for the loop would hold it against the loop's own records."""
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        reporter = _here()
        if reporter is None:
            self._last_resort(record)
            return
        extra = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        try:
            reporter.log(severity_of(record.levelno), self._text(record), record.name, extra)
        except Exception:  # noqa: BLE001 - logging never fails whoever logs, and what it says of it is the process's
            token = current.set(None)
            self.handleError(record)
            current.reset(token)

    def _text(self, record: logging.LogRecord) -> str:
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001 - a wrong format must not cost its author the line, nor start another one
            text = f"{text_of(record.msg)} {text_of(record.args)}"
        error = record.exc_info[1] if record.exc_info else None
        return with_traceback(text, error)

    def _last_resort(self, record: logging.LogRecord) -> None:
        last = logging.lastResort
        if last is None or record.levelno < last.level:
            return
        logger: logging.Logger | None = logging.getLogger(record.name)
        while logger is not None:
            if any(handler is not self for handler in logger.handlers):
                return
            logger = logger.parent
        last.handle(record)


class _Outside(logging.Filter):
    """For the handlers that were there: nothing of a run, and nothing that the root's former level kept out."""

    def __init__(self, level: int) -> None:
        super().__init__()
        self._level = level

    def filter(self, record: logging.LogRecord) -> bool:
        if _here() is not None:
            return False
        if record.levelno >= self._level:
            return True
        logger = logging.getLogger(record.name)
        while logger.parent is not None:
            if logger.level:
                return True
            logger = logger.parent
        return False
