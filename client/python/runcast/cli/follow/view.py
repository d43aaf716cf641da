"""How a run is shown while it is followed: the choice between a bar, plain lines, JSON, and nothing."""

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from runcast.cli.failures import Refused
from runcast.cli.terminal import Terminal

if TYPE_CHECKING:
    from runcast.client import Run, RunEvent


class Progress(StrEnum):
    """How progress is shown."""

    AUTO = "auto"
    TTY = "tty"
    PLAIN = "plain"
    JSON = "json"


class View(Protocol):
    """Shows one run. Called in one thread; none of its methods waits."""

    def begin(self, run: "Run") -> None:
        """The run is known; what follows are its events."""

    def event(self, event: "RunEvent", *, live: bool) -> None:
        """Something happened: just now where it is `live`, else some time ago."""

    def note(self, words: str) -> None:
        """Something to tell that did not come from the run."""

    def refresh(self) -> None:
        """Time has passed; called some ten times a second."""

    def end(self, run: "Run | None") -> None:
        """Nothing follows: the run is final, or was left (None). What is still held back is written now."""


class Silent:
    """Shows nothing."""

    def begin(self, run: "Run") -> None:
        pass

    def event(self, event: "RunEvent", *, live: bool) -> None:
        pass

    def note(self, words: str) -> None:
        pass

    def refresh(self) -> None:
        pass

    def end(self, run: "Run | None") -> None:
        pass


def view_for(progress: Progress, terminal: Terminal, *, events: bool, quiet: bool) -> View:
    """The view that was asked for. With `events`, each event goes to stdout as data, and nothing else is shown."""
    from runcast.cli.follow.bar import Bar
    from runcast.cli.follow.json_lines import JsonLines
    from runcast.cli.follow.plain import Plain

    if events:
        return JsonLines(sys.stdout)
    if quiet:
        return Silent()
    if progress is Progress.JSON:
        return JsonLines(sys.stderr)
    if progress is Progress.TTY and not terminal.err_is_terminal:
        raise Refused("--progress tty draws on a terminal, and stderr is none")
    live = terminal.live if progress is Progress.AUTO else progress is Progress.TTY
    return Bar(terminal) if live else Plain()
