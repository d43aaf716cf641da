"""A bar that is redrawn at the bottom of a terminal, with what the run says above it."""

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from runcast.cli import text
from runcast.cli.follow.lines import Line, Transcript
from runcast.cli.follow.standing import Standing, local_clock
from runcast.cli.terminal import Terminal

if TYPE_CHECKING:
    from rich.live import Live
    from rich.text import Text

    from runcast.client import Run, RunEvent

_LEVELS = {"DEBUG": "dim", "WARNING": "yellow", "ERROR": "red", "CRITICAL": "bold red"}
_LONGEST, _SHORTEST = 40, 10
_FRAMES_A_SECOND = 10


class Bar:
    """Draws on stderr. Lines are gathered and written with the next refresh, so that many cost little."""

    def __init__(self, terminal: Terminal, now: Callable[[], float] = time.time) -> None:
        self._console = terminal.err
        self._unicode = terminal.unicode
        self._now = now
        self._transcript = Transcript()
        self._lines: list[Text] = []
        self._standing: Standing | None = None
        self._live: Live | None = None

    def begin(self, run: "Run") -> None:
        self._standing = Standing(run, self._now)

    def event(self, event: "RunEvent", *, live: bool) -> None:
        if self._standing is not None:
            self._standing.take(event, live=live)
            self._lines.extend(as_text(each) for each in self._transcript.lines(event))

    def note(self, words: str) -> None:
        from rich.text import Text

        self._lines.append(Text(text.line(words), "bold"))
        self.refresh()

    def refresh(self) -> None:
        """Write what was gathered, and draw anew."""
        if self._live is None and self._standing is not None:
            self._live = self._started()
        self._flush()
        if self._live is not None:
            self._live.refresh()

    def end(self, run: "Run | None") -> None:
        self._lines.extend(as_text(each) for each in self._transcript.rest(self._now()))
        if self._live is not None:
            self._live.stop()
            self._live = None
        self._flush()

    def _started(self) -> "Live":
        from rich.live import Live

        live = Live(
            console=self._console,
            get_renderable=self._drawn,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        live.start()
        return live

    def _flush(self) -> None:
        from rich.text import Text

        if self._lines:
            lines, self._lines = self._lines, []
            self._console.print(Text("\n").join(lines), soft_wrap=True)

    def _drawn(self) -> "Text":
        assert self._standing is not None
        frame = int(self._now() * _FRAMES_A_SECOND)
        # Room for the ^C that a terminal writes itself: it must not wrap, or a line would be left behind.
        return drawn(self._standing, self._console.width - 2, frame, unicode=self._unicode)


def as_text(line: Line) -> "Text":
    """A line with its time of day, in the colour of its level."""
    from rich.text import Text

    style = _LEVELS.get(line.level, "")
    level = f"{line.level.lower()}: " if line.level and line.level != "DEBUG" else ""
    shown = Text.assemble((local_clock(line.time), "dim"), " ", (level, style), (line.text, style))
    return shown.append(f"  {line.details}", "dim") if line.details else shown


def drawn(standing: Standing, width: int, frame: int, *, unicode: bool) -> "Text":
    """One or two lines of at most `width` characters: what is known of the run, less of it where there is less room."""
    from rich.text import Text

    spinner = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏" if unicode else "|/-\\"
    head = Text.assemble(
        (spinner[frame % len(spinner)], "cyan"), " ", (text.short(standing.provider, 24), "bold")
    )
    figures = _figures(standing)
    room = width - 1 - head.cell_len
    bar = 0 if standing.fraction is None else _SHORTEST + 2
    for dropped in ("speed", "elapsed", "counted", "left"):
        if _length(figures) + bar <= room:
            break
        figures.pop(dropped, None)
    if standing.fraction is not None:
        length = min(room - _length(figures) - 2, _LONGEST)
        head.append("  ").append_text(_bar(standing.fraction, max(length, 3), unicode=unicode))
    for each in figures.values():
        head.append(f"  {each}")
    head.truncate(width - 1)
    if standing.saying:
        below = Text("\n  " + standing.saying, "dim")
        below.truncate(width - 1, overflow="ellipsis")
        head.append_text(below)
    return head


def _figures(standing: Standing) -> dict[str, str]:
    done, speed, left = standing.fraction, standing.speed, standing.left
    counted = standing.counted
    figures = {
        "share": "" if done is None else f"{done:4.0%}",
        "counted": counted,
        "speed": text.rate(speed, text.line(standing.progress.unit)) if speed and counted else "",
        "elapsed": text.clock(standing.elapsed),
        "left": "" if left is None or standing.state != "RUNNING" else f"{text.clock(math.ceil(left))} left",
    }
    return {name: each for name, each in figures.items() if each}


def _length(figures: dict[str, str]) -> int:
    return sum(2 + len(each) for each in figures.values())


def _bar(fraction: float, length: int, *, unicode: bool) -> "Text":
    from rich.text import Text

    full, rest = ("━", "─") if unicode else ("#", ".")
    count = int(fraction * length + 1e-9)
    return Text.assemble((full * count, "cyan"), (rest * (length - count), "dim"))
