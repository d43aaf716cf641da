"""A table of runs that is redrawn as they change."""

import asyncio
import contextlib
import time
from collections import Counter
from typing import TYPE_CHECKING

from runcast.cli import text
from runcast.cli.output import table_of
from runcast.cli.records import enum_name
from runcast.cli.showing import COLUMNS, row
from runcast.cli.terminal import Terminal

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

    from runcast.client import Run, RunTable, TableStream

_EVERY = 0.25
# The line above the table, its heading, the line below, and the one where the cursor rests.
_OTHER_LINES = 4


class Board:
    """Draws on stdout: what goes on first, then the newest, as many as there is room for."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._live: Live | None = None
        self._table: RunTable | None = None
        self._note = ""

    async def follow(self, stream: "TableStream") -> None:
        """Draw what the stream tells, until somebody leaves."""
        from runcast.client import RunTable

        self._table = RunTable()
        drawing = asyncio.create_task(self._draw())
        try:
            async for change in stream:
                self._note = ""
                self._table.apply(change)
        finally:
            drawing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(drawing)

    def note(self, words: str) -> None:
        """Something to tell below the table until the next change."""
        self._note = text.line(words)

    def end(self) -> None:
        """Leave the last picture where it is."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    async def _draw(self) -> None:
        from rich.live import Live

        while True:
            if self._table is not None and self._table.complete:
                if self._live is None:
                    self._live = Live(
                        console=self._terminal.out,
                        get_renderable=self._drawn,
                        auto_refresh=False,
                        redirect_stdout=False,
                        redirect_stderr=False,
                    )
                    self._live.start()
                self._live.refresh()
            await asyncio.sleep(_EVERY)

    def _drawn(self) -> "RenderableType":
        assert self._table is not None
        return board(list(self._table.values()), self._terminal, time.time(), self._note)


def board(runs: "list[Run]", terminal: Terminal, now: float, note: str = "") -> "RenderableType":
    """The picture: how many runs stand how, then a row for each as far as there is room."""
    from rich.console import Group
    from rich.text import Text

    from runcast.client import is_final

    runs.sort(key=lambda run: (is_final(run.state), -run.create_time.ToNanoseconds(), run.id))
    room = max(terminal.out.height - _OTHER_LINES, 1)
    counted = Counter(text.words(enum_name(run, "state")) for run in runs)
    states = ", ".join(f"{count:,} {state}" for state, count in counted.most_common())
    head = Text(text.plural(len(runs), "run") + (f": {states}" if states else ""), "bold")
    head.truncate(terminal.out.width - 1, overflow="ellipsis")
    hidden = len(runs) - room
    below = note or (f"… and {hidden:,} more" if hidden > 0 else "")
    parts: list[RenderableType] = [head]
    if runs:
        parts.append(table_of(COLUMNS, [row(run, now) for run in runs[:room]], terminal))
    if below:
        parts.append(Text(text.short(below, terminal.out.width - 1), "dim"))
    return Group(*parts)
