"""What a run has logged and written, as lines on stdout."""

import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from runcast.cli.follow.bar import as_text
from runcast.cli.follow.lines import Line, Transcript
from runcast.cli.follow.view import Progress, Silent, View
from runcast.cli.output import Format, to_json, write, write_yaml
from runcast.cli.records import enum_name, event_record
from runcast.cli.session import Session

if TYPE_CHECKING:
    from runcast.client import Run, RunEvent

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
TYPES = ("log", "output")


class LogLines:
    """Writes the events that are lines, as grave as `level` or graver, in the session's format.

    With a `progress` that is plain or json, the progress of a run that is followed goes to stderr.
    """

    def __init__(self, session: Session, level: str, *, bare: bool, progress: Progress) -> None:
        self._session = session
        self._least = _LEVELS.index(level)
        self._bare = bare
        self._transcript = Transcript()
        self._progress: View = Silent()
        if progress is not Progress.AUTO and not session.quiet:
            self._progress = _shown_beside(progress)
        self._records: list[object] = []
        self.seen = 0

    def begin(self, run: "Run") -> None:
        """The run that is followed."""
        self._progress.begin(run)

    def wants(self, event: "RunEvent") -> bool:
        """Whether the event is a line that is to be shown."""
        match event.WhichOneof("event"):
            case "output":
                return self._least <= _LEVELS.index("INFO")
            case "log":
                name = enum_name(event.log, "severity")
                return _LEVELS.index(name if name in _LEVELS else "INFO") >= self._least
        return False

    def take(self, event: "RunEvent", *, live: bool = False) -> None:
        """Write what the event says."""
        self.seen = event.sequence
        if event.WhichOneof("event") == "progress":
            self._progress.event(event, live=live)
        if not self.wants(event):
            return
        match self._session.format:
            case Format.JSON:
                self._records.append(event_record(event))
            case Format.JSONL:
                write(to_json(event_record(event), pretty=False))
            case Format.YAML:
                write("---")
                write_yaml(event_record(event))
            case _:
                self._write(self._transcript.lines(event))

    def end(self, at: float) -> None:
        """Nothing follows: what has no line feed yet is written all the same."""
        if self._session.format is Format.JSON:
            write(to_json(self._records, pretty=self._session.terminal.out_is_terminal))
        self._write(self._transcript.rest(at))
        self._progress.end(None)

    def _write(self, lines: Iterable[Line]) -> None:
        for line in lines:
            if self._bare:
                write(line.text)
            elif self._session.terminal.out_is_terminal:
                self._session.terminal.out.print(as_text(line), soft_wrap=True)
            else:
                level = line.level or "INFO"
                write(" ".join(each for each in (_clock(line.time), level, line.text, line.details) if each))
        sys.stdout.flush()


def _shown_beside(progress: Progress) -> View:
    from runcast.cli.follow.json_lines import JsonLines
    from runcast.cli.follow.plain import Plain

    return JsonLines(sys.stderr) if progress is Progress.JSON else Plain()


def _clock(seconds: float) -> str:
    """RFC 3339 in UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
