"""Lines for logs, pipes and simple terminals: all that a run says, and its progress now and then."""

import math
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from runcast.cli import text
from runcast.cli.follow.lines import Line, Transcript
from runcast.cli.follow.standing import Standing, local_clock

if TYPE_CHECKING:
    from runcast.client import Run, RunEvent

EVERY = 2.0
"""Seconds between two lines of progress, at least."""


class Plain:
    """Writes to stderr, or to `stream`; `now` is this machine's time in seconds."""

    def __init__(self, stream: TextIO | None = None, now: Callable[[], float] = time.time) -> None:
        self._stream = stream or sys.stderr
        self._now = now
        self._transcript = Transcript()
        self._standing: Standing | None = None
        self._told = 0.0
        self._untold = False

    def begin(self, run: "Run") -> None:
        self._standing = Standing(run, self._now)

    def event(self, event: "RunEvent", *, live: bool) -> None:
        if self._standing is None:
            return
        self._standing.take(event, live=live)
        for each in self._transcript.lines(event):
            self._write(as_text(each))
        if event.WhichOneof("event") == "progress" and live:
            self._untold = True
        self.refresh()

    def note(self, words: str) -> None:
        self._write(f"{local_clock(self._now())} {text.line(words)}")

    def refresh(self) -> None:
        if self._standing is not None and self._untold and self._now() - self._told >= EVERY:
            self._told, self._untold = self._now(), False
            self._write(f"{local_clock(self._standing.time)} {progress_line(self._standing)}")

    def end(self, run: "Run | None") -> None:
        for each in self._transcript.rest(self._now()):
            self._write(as_text(each))

    def _write(self, words: str) -> None:
        self._stream.write(words + "\n")
        self._stream.flush()


def as_text(line: Line) -> str:
    """A line with its time of day, and its level where that is worth knowing."""
    return " ".join(each for each in (local_clock(line.time), line.level, line.text, line.details) if each)


def progress_line(standing: Standing) -> str:
    """`40% 4/10 seconds 1.0/s, 6.0 s left · stage · message`, as much of it as is known."""
    done, speed, left = standing.fraction, standing.speed, standing.left
    counted = standing.counted
    figures = [
        "" if done is None else f"{done:4.0%}",
        counted,
        text.rate(speed, text.line(standing.progress.unit)) if speed and counted else "",
    ]
    figure = " ".join(each for each in figures if each)
    figure += f", {text.duration(math.ceil(left))} left" if left is not None and figure else ""
    return " · ".join(each for each in (figure.strip(), standing.saying) if each)
