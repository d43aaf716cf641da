"""Each event as one line of JSON, for programs."""

from typing import TYPE_CHECKING, Any, TextIO

from runcast.cli.output import to_json
from runcast.cli.records import event_record, run_record

if TYPE_CHECKING:
    from runcast.client import Run, RunEvent


class JsonLines:
    """Writes `{"type": "started", "run": …}`, then the events, then `{"type": "completed", "run": …}`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def begin(self, run: "Run") -> None:
        self._write({"type": "started", "run": run_record(run)})
        self.refresh()

    def event(self, event: "RunEvent", *, live: bool) -> None:
        self._write(event_record(event))
        if live:
            self.refresh()

    def note(self, words: str) -> None:
        self._write({"type": "note", "message": words})
        self.refresh()

    def refresh(self) -> None:
        self._stream.flush()

    def end(self, run: "Run | None") -> None:
        if run is not None:
            self._write({"type": "completed", "run": run_record(run)})
        self.refresh()

    def _write(self, value: Any) -> None:
        self._stream.write(to_json(value, pretty=False) + "\n")
