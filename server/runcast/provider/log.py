"""The logger of a run: what it is told becomes lines of the run's journal, of every severity."""

import sys
import traceback

from runcast.provider.reporter import Reporter
from runcast.provider.text import text_of
from runcast.server.model.event import Severity


class RunLog:
    """Used like a `logging.Logger`: `log.info("read %s", path, size=3)`. Keywords and `extra` become attributes."""

    __slots__ = ("_reporter", "name")

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self.name = reporter.call.provider

    def debug(self, message: object, *args: object, **attributes: object) -> None:
        """For whoever looks for a mistake."""
        self._tell(Severity.DEBUG, message, args, attributes)

    def info(self, message: object, *args: object, **attributes: object) -> None:
        """For whoever follows the run."""
        self._tell(Severity.INFO, message, args, attributes)

    def warning(self, message: object, *args: object, **attributes: object) -> None:
        """Something is not as it should be, and the run goes on."""
        self._tell(Severity.WARNING, message, args, attributes)

    def error(self, message: object, *args: object, **attributes: object) -> None:
        """Something failed."""
        self._tell(Severity.ERROR, message, args, attributes)

    def critical(self, message: object, *args: object, **attributes: object) -> None:
        """Nothing works any more."""
        self._tell(Severity.CRITICAL, message, args, attributes)

    def exception(self, message: object, *args: object, **attributes: object) -> None:
        """An error, with the traceback of the exception that is being handled."""
        attributes.setdefault("exc_info", True)
        self._tell(Severity.ERROR, message, args, attributes)

    def log(self, level: int, message: object, *args: object, **attributes: object) -> None:
        """With a level of `logging`, as code that knows only those has it."""
        self._tell(severity_of(level), message, args, attributes)

    def _tell(
        self, severity: Severity, message: object, args: tuple[object, ...], attributes: dict[str, object]
    ) -> None:
        exc_info = attributes.pop("exc_info", None)
        extra = attributes.pop("extra", None)
        if isinstance(extra, dict):
            attributes = {**extra, **attributes}
        text = with_traceback(_format(message, args), exc_info)
        self._reporter.log(severity, text, self.name, attributes)


def severity_of(level: int) -> Severity:
    """A level of `logging` as a severity: WARNING from 30, and so on."""
    return Severity(min(5, max(1, level // 10)))


def _format(message: object, args: tuple[object, ...]) -> str:
    text = text_of(message)
    if not args:
        return text
    try:
        return text % args
    except Exception:  # noqa: BLE001 - a wrong format must not cost its author the line, nor the run
        return " ".join([text, *map(text_of, args)])


def with_traceback(text: str, exc_info: object) -> str:
    """The text, and below it the traceback of an exception, or of the one being handled for any other true value."""
    if not exc_info:
        return text
    error = exc_info if isinstance(exc_info, BaseException) else sys.exc_info()[1]
    if error is None:
        return text
    return f"{text}\n{''.join(traceback.format_exception(error)).rstrip()}"
